package pgtable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		fmt.Fprintln(os.Stderr, "worker:", worker(context.Background(), url))
		os.Exit(1)
	}
	for env, newClient := range map[string]func(*pgxpool.Pool) (*dataflow.Client, error){keysWorkerEnv: removeClient, lookbackEnv: lookbackClient, lookbackToEnv: lookbackToClient} {
		if url := os.Getenv(env); url != "" {
			fmt.Fprintln(os.Stderr, "worker:", workUntilKilled(context.Background(), url, newClient))
			os.Exit(1)
		}
	}
	dbtest.Waiting()
	os.Exit(dbtest.Main(m))
}

// template is a migrated database.
var template = dbtest.Template{Fill: func(ctx context.Context, pool *pgxpool.Pool) error {
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return client.Migrate(ctx)
}}

// setup returns a migrated database in which the statements were executed.
func setup(t *testing.T, statements ...string) *pgxpool.Pool {
	t.Helper()
	pool := template.Postgres(t)
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return pool
}

type item[T any] = dataflow.Item[T, pgtable.Cursor]

// read reads up to n items after a cursor. The cursor passes through JSON, as it
// does between runs. A nil cursor is the beginning, and a negative n means all
// items.
func read[T any](t *testing.T, source dataflow.Source[T, pgtable.Cursor], from pgtable.Cursor, n int) ([]item[T], error) {
	t.Helper()
	var r dataflow.Request[pgtable.Cursor]
	if from != nil {
		data, err := json.Marshal(from)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &r.From))
		r.Resumed = true
	}
	var items []item[T]
	for item, err := range source.Read(t.Context(), r) {
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			return items, err
		}
		require.True(t, item.Resume)
		items = append(items, item)
		if len(items) == n {
			break
		}
	}
	return items, nil
}

// readAll reads a source to its end.
func readAll[T any](t *testing.T, source dataflow.Source[T, pgtable.Cursor]) []item[T] {
	t.Helper()
	items, err := read(t, source, nil, -1)
	require.NoError(t, err)
	return items
}

func values[T any](items []item[T]) []T {
	var vs []T
	for _, it := range items {
		vs = append(vs, it.Value)
	}
	return vs
}

// resumeEverywhere checks that a read can resume after any row.
func resumeEverywhere[T any](t *testing.T, source dataflow.Source[T, pgtable.Cursor]) {
	t.Helper()
	all := readAll(t, source)
	for i := range all {
		rest, err := read(t, source, all[i].Cursor, -1)
		require.NoError(t, err, "behind %v", all[i].Cursor)
		require.Equal(t, values(all[i+1:]), values(rest), "behind %v", all[i].Cursor)
	}
}

// setupMode is setup with a mode of executing queries and with session settings.
func setupMode(t *testing.T, mode pgx.QueryExecMode, settings map[string]string, statements ...string) *pgxpool.Pool {
	t.Helper()
	return open(t, dbtest.PostgresURL(t), mode, settings, statements...)
}

func open(t *testing.T, url string, mode pgx.QueryExecMode, settings map[string]string, statements ...string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return pool
}

// collect returns the values of a read, up to its first error.
func collect[T any](seq iter.Seq2[item[T], error]) ([]T, error) {
	var vs []T
	for it, err := range seq {
		if err != nil {
			return vs, err
		}
		vs = append(vs, it.Value)
	}
	return vs, nil
}
