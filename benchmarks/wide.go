package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// wide is a table of rows whose text has a length. The last rows of mixed tables are long.
type wide struct {
	name    string
	small   int // the number of rows of 10 bytes that come first
	rows    int
	length  int
	mostMiB float64 // that the flow may use above the idle process
}

type document struct {
	ID   int64
	Body string
}

// measureWide prints the peak memory of flows over rows of up to 10 MB.
func (w *work) measureWide(ctx context.Context) error {
	fmt.Println("\n| rows | flow | rows/s | peak memory above idle, MiB | at most | |\n|---|---|---|---|---|---|")
	for _, of := range []wide{
		{name: "2,000 of 1 MB", rows: min(2000, w.rows), length: 1_000_000, mostMiB: 64},
		{name: "200 of 10 MB", rows: min(200, w.rows), length: 10_000_000, mostMiB: 64},
		{name: "20,000 small, then 1,500 of 1 MB", small: 20_000, rows: min(1500, w.rows), length: 1_000_000, mostMiB: 64},
	} {
		if err := w.exec(ctx, "drop table if exists wide_src, wide_dst",
			"create table wide_src (id bigint primary key, body text not null)",
			"create table wide_dst (id bigint primary key, body text not null)",
			fmt.Sprintf("insert into wide_src select g, 'some text.' from generate_series(1, %d) g", of.small),
			fmt.Sprintf("insert into wide_src select g, repeat(md5(g::text), %d) from generate_series(%d, %d) g", of.length/32, of.small+1, of.small+of.rows),
			"vacuum analyze wide_src"); err != nil {
			return err
		}
		keyset := func() dataflow.Source[document, pgtable.Cursor] {
			return pgtable.Keyset[document](w.pool, pgtable.Query{SQL: "select id, body from wide_src", Key: []string{"id"}})
		}
		one := pgtable.Select[document](w.pool, "select id, body from wide_src")
		upsert := pgtable.Upsert[document]("wide_dst", "id")
		for name, f := range map[string]func(name string) *dataflow.Flow{
			"Keyset, Insert": func(name string) *dataflow.Flow {
				return dataflow.NewFlow(name, keyset(), dataflow.Identity[document](), pgtable.Insert[document]("wide_dst"), nil)
			},
			"Keyset, Upsert": func(name string) *dataflow.Flow {
				return dataflow.NewFlow(name, keyset(), dataflow.Identity[document](), upsert, nil)
			},
			"Select, Upsert": func(name string) *dataflow.Flow {
				return dataflow.NewFlow(name, one, dataflow.Identity[document](), upsert, nil)
			},
		} {
			if err := w.workWide(ctx, of, name, f); err != nil {
				return err
			}
		}
	}
	return w.exec(ctx, "drop table wide_src, wide_dst")
}

func (w *work) workWide(ctx context.Context, of wide, name string, f func(name string) *dataflow.Flow) error {
	if err := w.exec(ctx, "truncate wide_dst", "checkpoint"); err != nil {
		return err
	}
	w.run++
	rows, began := of.small+of.rows, time.Now()
	peak, err := peakMemory(func() error { return w.execute(ctx, f(fmt.Sprintf("wide %d", w.run))) })
	if err != nil {
		return err
	}
	took := time.Since(began)
	var same int
	if err := w.pool.QueryRow(ctx, "select count(*) from wide_src join wide_dst using (id, body)").Scan(&same); err != nil {
		return err
	}
	if same != rows {
		return fmt.Errorf("%s, %s: of %d rows, %d arrived as they should", of.name, name, rows, same)
	}
	verdict := "missed"
	if peak <= of.mostMiB {
		verdict = "reached"
	}
	slog.InfoContext(ctx, "wide", "rows", of.name, "flow", name, "peak MiB", int(peak))
	fmt.Printf("| %s | %s | %.0f | %.0f | %.0f | %s |\n", of.name, name, float64(rows)/took.Seconds(), peak, of.mostMiB, verdict)
	return nil
}
