//go:build unix

package pgtable_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// noCopy returns a configuration through a proxy that breaks a connection at a COPY or a
// temporary table, as PGlite's socket server does.
func noCopy(t *testing.T, url string) *pgxpool.Config {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	network, address := pgconn.NetworkAddress(config.ConnConfig.Host, config.ConnConfig.Port)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).Dial(network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			serving.Go(func() {
				_, _ = io.Copy(client, server)
				_ = client.Close()
			})
			serving.Go(func() {
				defer func() { _, _ = server.Close(), client.Close() }()
				buf := make([]byte, 1<<20)
				for {
					n, err := client.Read(buf)
					sent := bytes.ToLower(buf[:n])
					if err != nil || bytes.Contains(sent, []byte("copy ")) || bytes.Contains(sent, []byte("create temp")) {
						return
					}
					if _, err := server.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(listener.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert,gosec // it is a port of TCP
	config.ConnConfig.Fallbacks = nil
	return config
}

type plainRow struct {
	ID    int64     `db:"id"`
	Name  *string   `db:"name"`
	Cents float64   `db:"cents"`
	At    time.Time `db:"at"`
	Tags  []string  `db:"tags"`
}

func plainRows(n int, name string) []plainRow {
	rows := make([]plainRow, n)
	for i := range rows {
		rows[i] = plainRow{ID: int64(i % (n - 10)), Cents: float64(i) / 3, At: time.UnixMicro(int64(i) * 1_000_003).UTC(), Tags: []string{"a", `"`, ""}}
		if i%3 > 0 {
			text := fmt.Sprintf("%s %d\t\\N", name, i)
			rows[i].Name = &text
		}
	}
	return rows
}

// A plain pool needs neither COPY nor temporary tables, and writes the same rows.
func TestPlain(t *testing.T) {
	t.Parallel()
	const tables = `create table appended (id bigint, name text, cents float8, at timestamptz, tags text[]);
		create table kept (like appended, primary key (id)); create table replaced (like kept including all); create table far (like kept including all)`
	dump := func(pool *pgxpool.Pool, table string) (rows []string) {
		found, err := pool.Query(t.Context(), `select t::text from `+table+` t order by 1`)
		require.NoError(t, err)
		rows, err = pgx.CollectRows(found, pgx.RowTo[string])
		require.NoError(t, err)
		return rows
	}
	write := func(pool *pgxpool.Pool) error {
		flow := func(name string, rows []plainRow, to dataflow.Target[plainRow]) *dataflow.Flow {
			return dataflow.NewFlow(name, memory.Slice(rows), dataflow.Identity[plainRow](), to, &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{BatchSize: 200}, MaxAttempts: 1, OnBadRecord: dataflow.SkipUpTo(1),
			})
		}
		rows, later := plainRows(700, "first"), plainRows(700, "later")
		client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
			flow("appended", rows, pgtable.Insert[plainRow]("appended")),
			flow("kept", rows, pgtable.Upsert[plainRow]("kept", "id")),
			flow("kept again", later, pgtable.Upsert[plainRow]("kept", "id")),
			flow("far", rows, pgtable.UpsertTo[plainRow](pool, "far", "id")),
		}})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		require.NoError(t, client.Migrate(ctx))
		require.NoError(t, client.Register(ctx))
		for _, name := range []string{"appended", "kept", "kept again", "far"} {
			if _, err := client.Trigger(ctx, name, nil); err != nil {
				return err
			}
		}
		return nil
	}
	fast := setup(t, tables)
	require.NoError(t, write(fast))

	direct := setup(t, tables)
	config := noCopy(t, direct.Config().ConnString())
	plain, err := pgxpool.NewWithConfig(t.Context(), config.Copy())
	require.NoError(t, err)
	_, err = plain.Exec(t.Context(), "copy kept from stdin")
	require.Error(t, err, "the proxy breaks at a COPY")
	plain.Close()
	called := false
	config.AfterConnect = func(context.Context, *pgx.Conn) error { called = true; return nil }
	pgtable.Plain(config)
	plain, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer plain.Close()
	require.NoError(t, write(plain))
	require.True(t, called)
	for _, table := range []string{"appended", "kept", "far"} {
		require.NotEmpty(t, dump(fast, table))
		require.Equal(t, dump(fast, table), dump(direct, table), table)
	}
}

// Behind a pooler, no temporary table is made, and the rows are the same.
func TestPlain_Pooler(t *testing.T) {
	t.Parallel()
	direct := dbtest.PostgresURL(t)
	pool := open(t, dbtest.PgBouncer(t, direct), pgx.QueryExecModeCacheDescribe, nil, `create table numbers (n bigint primary key)`)
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
		dataflow.NewFlow("numbers", memory.Slice(numberRows(900)), dataflow.Identity[number](), pgtable.Upsert[number]("numbers", "n"),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 300}}),
	}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	for range 2 { // the second time, all keys are there
		_, err = client.Trigger(t.Context(), "numbers", nil)
		require.NoError(t, err)
	}
	var rows, temporary int
	require.NoError(t, pool.QueryRow(t.Context(), `select (select count(*) from numbers), (select count(*) from pg_class where relpersistence = 't')`).Scan(&rows, &temporary))
	require.Equal(t, []int{900, 0}, []int{rows, temporary})
}
