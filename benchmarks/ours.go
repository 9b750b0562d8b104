package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// transform is [change] as a flow has it.
func transform() dataflow.Transform[row, row] {
	return dataflow.Map(func(_ context.Context, r row) (row, error) { return change(r), nil })
}

func (w *work) keyset() dataflow.Source[row, pgtable.Cursor] {
	return pgtable.Keyset[row](w.pool, pgtable.Query{SQL: "select id, name, amount, updated_at from src", Key: []string{"id"}})
}

// flow is a contender that works a new flow from its beginning to its end.
func flow[C any](w *work, name string, source func() dataflow.Source[row, C], target func() dataflow.Target[row], rt dataflow.Runtime) func(context.Context) error {
	return func(ctx context.Context) error {
		w.run++
		f := dataflow.NewFlow(fmt.Sprintf("%s %d", name, w.run), source(), transform(), target(), &dataflow.FlowOptions{Runtime: rt})
		return w.execute(ctx, f)
	}
}

// execute works a flow once. Making and registering a client is counted too.
func (w *work) execute(ctx context.Context, f *dataflow.Flow) error {
	client, err := dataflow.NewClient(dataflowpgx.New(w.pool), &dataflow.Config{Flows: []*dataflow.Flow{f}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := client.Register(ctx); err != nil {
		return err
	}
	bound, err := client.Flow(ctx, f.Name)
	if err != nil {
		return err
	}
	run, err := bound.Runtime.Execute(ctx, bound)
	if err == nil && run.State != dataflow.RunSuccess {
		err = fmt.Errorf("run %d is %s", run.ID, run.State)
	}
	return err
}

// badEvery is how many records have one that the database refuses.
const badEvery = 10_000

// withBad works a flow of which the database refuses some records, which become dead
// letters.
func (w *work) withBad(ctx context.Context) error {
	w.run++
	bad := dataflow.Map(func(_ context.Context, r row) (row, error) {
		if r = change(r); r.ID%badEvery == 0 {
			r.Name = "\x00"
		}
		return r, nil
	})
	f := dataflow.NewFlow(fmt.Sprintf("bad %d", w.run), w.keyset(), bad, insert(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(int64(w.rows))})
	return w.execute(ctx, f)
}

func insert() dataflow.Target[row] { return pgtable.Insert[row]("dst") }
func upsert() dataflow.Target[row] { return pgtable.Upsert[row]("dst", "id") }

func (w *work) jsonl() dataflow.Source[row, jsonl.Cursor] {
	return jsonl.Open[row](w.file("rows.jsonl"), nil)
}

func (w *work) csv() dataflow.Source[row, csvfile.Cursor] {
	return csvfile.Open[row](w.file("rows.csv"), nil)
}
