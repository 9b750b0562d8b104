package enginetest_test

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each block of Go in the README stands in this file or is a whole example, so that it
// compiles. TestReadme or CI runs each block of shell.

type Order struct {
	ID        int64     `db:"id"`
	Email     string    `db:"email"`
	Cents     int64     `db:"cents"`
	UpdatedAt time.Time `db:"updated_at"`
}

type OrderFact struct {
	OrderID int64 `db:"order_id"`
	Euros   int64 `db:"euros"`
}

func paid(o Order) bool { return o.Cents > 0 }

func toFact(_ context.Context, o Order) (OrderFact, error) {
	return OrderFact{OrderID: o.ID, Euros: o.Cents / 100}, nil
}

func readmeClient(ctx context.Context, url string, use func(*dataflow.Client, *pgxpool.Pool) error) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	orders := dataflow.NewFlow("orders",
		pgtable.Keyset[Order](pool, pgtable.Query{
			SQL: `select id, email, cents, updated_at from orders`,
			Key: []string{"updated_at", "id"}, // unique; every row is a resume point
		}),
		dataflow.Pipe(dataflow.Filter(paid), dataflow.Map(toFact)),
		pgtable.Upsert[OrderFact]("order_facts", "order_id"), // in the checkpoint's transaction
		&dataflow.FlowOptions{
			Runtime:     dataflow.JobQueue{Queue: "etl", BatchSize: 500},
			OnBadRecord: dataflow.SkipUpTo(100),
		})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{orders}})
	if err != nil {
		return err
	}
	defer pool.Close()
	return use(client, pool)
}

func readmeTrigger(ctx context.Context, client *dataflow.Client, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into invoices (id) values ($1)`, 7); err != nil {
			return err
		}
		_, err := client.TriggerTx(ctx, dataflowpgx.Tx(tx), "orders", nil)
		return err
	})
	return err
}

func readmeRiver(client *dataflow.Client, pool *pgxpool.Pool, workers *river.Workers) error {
	if err := client.AddWorker(workers); err != nil { // before the River client is made
		return err
	}
	riverClient, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}, "etl": {MaxWorkers: 10}},
		Workers: workers,
	})
	if err != nil {
		return err
	}
	if err := dataflow.UseRiver(client, riverClient); err != nil {
		return err
	}
	return nil
}

func readmeSchedule() dataflow.Runtime {
	nightly := dataflow.JobQueue{Schedule: dataflow.Schedule{
		Cron: "30 2 * * *", TimeZone: "Europe/Berlin",
		Overlap:    dataflow.OverlapBufferOne, // a tick that finds the flow busy waits
		CatchUp:    dataflow.CatchUpLatest,    // one run makes up for all missed ticks
		PauseAfter: 5,                         // failures in a row
	}}
	return nightly
}

// Countdown yields the numbers below its start; the cursor is the last number.
type Countdown struct{ Start int }

func (c Countdown) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		from := c.Start
		if r.Resumed {
			from = r.From
		}
		for n := from - 1; n >= 0; n-- {
			if !yield(dataflow.Item[int, int]{Value: n, Cursor: n, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

func readmeSink() dataflow.Target[int] {
	sink := dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		tx, ok := dataflowpgx.TxFrom(ctx) // the checkpoint's transaction
		if !ok {
			return dataflow.ErrTxMismatch
		}
		_, err := tx.Exec(ctx, `insert into countdown (n) select unnest($1::int[])`, rows)
		return err
	}))
	return sink
}

// The README's snippets do what it says.
func TestReadme_Snippets(t *testing.T) {
	t.Parallel()
	err := readmeClient(t.Context(), dbtest.PostgresURL(t), func(client *dataflow.Client, pool *pgxpool.Pool) error {
		ctx := t.Context()
		require.NoError(t, client.Migrate(ctx))
		require.NoError(t, client.Register(ctx))
		require.NoError(t, readmeRiver(client, pool, river.NewWorkers()))
		_, err := pool.Exec(ctx, `create table invoices (id integer); create table countdown (n integer)`)
		require.NoError(t, err)
		require.NoError(t, readmeTrigger(ctx, client, pool))
		var queue string
		require.NoError(t, pool.QueryRow(ctx, `select queue from river_job where kind = 'data_flow'`).Scan(&queue))
		require.Equal(t, "etl", queue)

		nightly := dataflow.NewFlow("nightly", Countdown{}, dataflow.Identity[int](), readmeSink(), &dataflow.FlowOptions{Runtime: readmeSchedule()})
		next, err := nightly.Next(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), 1)
		require.NoError(t, err)
		require.Equal(t, []time.Time{time.Date(2026, 12, 1, 1, 30, 0, 0, time.UTC)}, next)

		down := dataflow.NewFlow("countdown", Countdown{Start: 5}, dataflow.Identity[int](), readmeSink(), nil)
		counting, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{down}})
		require.NoError(t, err)
		require.NoError(t, counting.Register(ctx))
		for range 2 {
			_, err = counting.Trigger(ctx, "countdown", nil)
			require.NoError(t, err)
		}
		var n int
		require.NoError(t, pool.QueryRow(ctx, `select count(*) from countdown`).Scan(&n))
		require.Equal(t, 5, n)
		return nil
	})
	require.NoError(t, err)
}

func TestReadme_BlocksAreCode(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	files, err := filepath.Glob("../../examples/*/*.go")
	require.NoError(t, err)
	for _, file := range append(files, "readme_test.go") {
		code.WriteString(flattened(t, file))
	}
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)
	// CI runs all but the first.
	commands := []string{"go get github.com/activedataflow/dataflow", "go run ./examples/quickstart", "scripts/test.sh"}
	for _, block := range blocks {
		switch language, text := block[1], block[2]; language {
		case "go":
			require.Contains(t, code.String(), flatten(text), "this block is not in the code:\n%s", text)
		case "sh":
			require.Contains(t, commands, strings.TrimSpace(text))
		default:
			require.Fail(t, "a block of no known language", text)
		}
	}
}

func flattened(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return flatten(string(data))
}

// flatten removes indentation and empty lines.
func flatten(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
