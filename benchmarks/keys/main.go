// Command keys compares two tables that are alike, in two databases of one server, by package
// reconcile. It does so in turns with what only adds up hashes of both tables' keys, without
// finding out where they differ:
//
//	select count(*), sum(hashtext(key::text))
//
// Both statements run at the same time, as the comparison's do, and also one after the other.
//
//	go run ./keys -n 3000000 -pairs 7
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/benchmarks/internal/server"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
)

func main() {
	rows := flag.Int("n", 3_000_000, "rows of each table")
	pairs := flag.Int("pairs", 7, "how often to compare")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rows, *pairs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// kinds are the keys that are measured.
func kinds() []struct{ typ, value string } {
	return []struct{ typ, value string }{{"bigint", "n"}, {"uuid", "md5(n::text)::uuid"}, {"text", "'order-' || md5(n::text)"}}
}

func run(ctx context.Context, rows, pairs int) (err error) {
	s, err := server.Open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	var sides [2]*pgxpool.Pool
	for i, name := range []string{"postgres", "copies"} {
		u, err := url.Parse(s.URL)
		if err != nil {
			return err
		}
		if i > 0 {
			if _, err := sides[0].Exec(ctx, "create database "+name); err != nil {
				return err
			}
			u.Path = "/" + name
		}
		if sides[i], err = pgxpool.New(ctx, u.String()); err != nil {
			return err
		}
		defer sides[i].Close()
	}
	fmt.Printf("%d rows in each table; %s\n\n", rows, server.Machine(ctx, sides[0]))
	for _, kind := range kinds() {
		for _, pool := range sides {
			fill := fmt.Sprintf("insert into rows select %s, n, 'some text of a row', now() from generate_series(1, %d) n", kind.value, rows)
			for _, statement := range []string{
				"drop table if exists rows", "create table rows (key " + kind.typ + " primary key, n bigint, note text, at timestamptz)", fill, "vacuum (analyze) rows", "checkpoint",
			} {
				if _, err := pool.Exec(ctx, statement); err != nil {
					return err
				}
			}
		}
		if err := measure(ctx, kind.typ, sides, int64(rows), pairs); err != nil {
			return err
		}
	}
	return nil
}

// measure compares in turns, each first in every other pair.
func measure(ctx context.Context, typ string, sides [2]*pgxpool.Pool, rows int64, pairs int) error {
	ways := []func() error{
		func() error { return compare(ctx, sides, rows) },
		func() error { return together(ctx, sides, rows) },
		func() error { return errors.Join(add(ctx, sides[0], rows), add(ctx, sides[1], rows)) },
	}
	for _, way := range ways { // both have everything in memory
		if err := way(); err != nil {
			return err
		}
	}
	var ratios, serial, works []float64
	for pair := range pairs {
		took, used := make([]float64, len(ways)), make([]float64, len(ways))
		for i := range ways {
			at := (i + pair) % len(ways)
			before, err := cpu(ctx, sides[0])
			if err != nil {
				return err
			}
			began := time.Now()
			if err := ways[at](); err != nil {
				return err
			}
			took[at] = time.Since(began).Seconds()
			after, err := cpu(ctx, sides[0])
			if err != nil {
				return err
			}
			used[at] = after - before
		}
		ratios, serial, works = append(ratios, took[0]/took[1]), append(serial, took[0]/took[2]), append(works, used[0]/used[1])
		fmt.Printf("%s, pair %d: compared in %.2f s; both sums at once %.2f s, ratio %.2f; one after the other %.2f s, ratio %.2f; the server's CPU %.2f s and %.2f s, ratio %.2f\n",
			typ, pair+1, took[0], took[1], ratios[pair], took[2], serial[pair], used[0], used[1], works[pair])
	}
	for _, list := range []struct {
		name   string
		ratios []float64
	}{{"at once", ratios}, {"one after the other", serial}, {"the server's CPU", works}} {
		slices.Sort(list.ratios)
		fmt.Printf("%s, %s: ratio min / median / max: %.2f / %.2f / %.2f\n", typ, list.name, list.ratios[0], list.ratios[pairs/2], list.ratios[pairs-1])
	}
	fmt.Println()
	return nil
}

func compare(ctx context.Context, sides [2]*pgxpool.Pool, rows int64) error {
	table := reconcile.Table{Name: "rows", Key: []string{"key"}}
	c := reconcile.New(pgtable.Keys(sides[0], table), pgtable.Keys(sides[1], table), nil)
	var at reconcile.Cursor
	for item, err := range c.Read(ctx, dataflow.Request[reconcile.Cursor]{}) {
		if err != nil {
			return err
		}
		at = item.Cursor
	}
	if at.Pass != "done" || at.SourceRows != rows || at.TargetRows != rows || at.Gone+at.Missing != 0 {
		return fmt.Errorf("the comparison found %s", at)
	}
	return nil
}

func together(ctx context.Context, sides [2]*pgxpool.Pool, rows int64) error {
	other := make(chan error, 1)
	go func() { other <- add(ctx, sides[1], rows) }()
	return errors.Join(add(ctx, sides[0], rows), <-other)
}

func add(ctx context.Context, pool *pgxpool.Pool, rows int64) error {
	var n, sum int64
	if err := pool.QueryRow(ctx, "select count(*), sum(hashtext(key::text)) from rows").Scan(&n, &sum); err != nil {
		return err
	}
	if n != rows {
		return fmt.Errorf("%d rows, not %d", n, rows)
	}
	return nil
}
