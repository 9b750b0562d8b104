package enginetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // The "sqlite" driver, for the other process.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// sqlitePooled is a client on a *sql.DB of so many connections, with flows on the same.
type sqlitePooled struct {
	*dbT
	client *dataflow.Client
	names  []string
}

const sqliteRows = 400

// sqliteFlow is a flow from a table numbers to a table of its own.
func sqliteFlow(db *sql.DB, i int, rt dataflow.Runtime, stream bool, transform dataflow.Transform[number, number]) *dataflow.Flow {
	name, opts := fmt.Sprintf("flow%d", i), &dataflow.FlowOptions{Runtime: rt}
	to := sqltable.Upsert[number](fmt.Sprintf("target%d", i), "id")
	if stream {
		return dataflow.NewFlow(name, sqltable.Select[number](db, "select id, v from numbers order by id"), transform, to, opts)
	}
	return dataflow.NewFlow(name, sqltable.Keyset[number](db, sqltable.Query{SQL: "select id, v from numbers", Key: []string{"id"}, PageSize: 50}), transform, to, opts)
}

// sqliteTables makes the tables of manyFlows flows.
func sqliteTables(t *testing.T, db *sql.DB) {
	t.Helper()
	statements := []string{
		"create table numbers (id integer primary key, v text not null)",
		fmt.Sprintf("insert into numbers with recursive n (id) as (select 1 union all select id + 1 from n where id < %d) select id, 'value ' || id from n", sqliteRows),
	}
	for i := range manyFlows {
		statements = append(statements, fmt.Sprintf("create table target%d (id integer primary key, v text not null)", i))
	}
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

func onSmallSQLite(t *testing.T, size int, rt dataflow.Runtime, stream bool, transform dataflow.Transform[number, number]) *sqlitePooled {
	t.Helper()
	path := migratedFile(t)
	db := dbtest.OpenSQLite(t, path)
	db.SetMaxOpenConns(size)
	sqliteTables(t, db)
	p := &sqlitePooled{dbT: sqlite(t, path)}
	config := &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Lease: 2 * time.Second, PollInterval: 200 * time.Millisecond, River: p.quickRiver()}
	for i := range manyFlows {
		config.Flows = append(config.Flows, sqliteFlow(db, i, rt, stream, transform))
		p.names = append(p.names, config.Flows[i].Name)
	}
	var err error
	p.client, err = dataflow.NewClient(dataflowsqlite.New(db), config)
	require.NoError(t, err)
	return p
}

func (p *sqlitePooled) start() []int64 {
	p.Helper()
	p.started(p.client)
	var ids []int64
	for _, name := range p.names {
		run, err := p.client.Enqueue(p.Context(), name, nil)
		require.NoError(p, err)
		ids = append(ids, run.ID)
	}
	return ids
}

// requireWhole requires that each run has succeeded, and that waiting has cost nothing.
func (p *sqlitePooled) requireWhole(ids []int64) {
	p.Helper()
	for i, id := range ids {
		run, err := p.wait(p.client, id)
		require.NoError(p, err)
		require.Equal(p, 1, run.Attempt, "waiting spends no attempt")
		require.Zero(p, run.Rescues, "no lease has lapsed")
		require.EqualValues(p, sqliteRows, run.Counters.Written)
		require.EqualValues(p, sqliteRows, p.number(fmt.Sprintf("select count(*) from target%d where v = 'value ' || id", i)))
	}
}

// TestPoolSQLite has more flows than a *sql.DB can serve at once, on both Runtimes, with
// sources that borrow a connection for each page and that hold one to their last row.
func TestPoolSQLite(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		for _, size := range []int{1, 2, 4} {
			for kind, stream := range map[string]bool{"keyset": false, "select": true} {
				if stream && size == 1 {
					continue // see TestPoolSQLite_OneIsTooFew
				}
				t.Run(fmt.Sprintf("%s/%s/%d", name, kind, size), func(t *testing.T) {
					t.Parallel()
					p := onSmallSQLite(t, size, rt, stream, dataflow.Identity[number]())
					p.requireWhole(p.start())
				})
			}
		}
	}
}

// TestPoolSQLite_OneIsTooFew refuses a flow that could never run.
func TestPoolSQLite_OneIsTooFew(t *testing.T) {
	t.Parallel()
	db := dbtest.OpenSQLite(t, migratedFile(t))
	_, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{sqliteFlow(db, 0, nil, true, dataflow.Identity[number]())}})
	var ce *dataflow.ConfigError
	require.ErrorAs(t, err, &ce)
	require.Contains(t, ce.Reason, "it has one connection, which sqltable.Select would use until its last row is read")
}

// TestPoolSQLite_Full has runs that wait for connections: they say so, can be cancelled, and
// begin once there is room. Stop does not wait for them.
func TestPoolSQLite_Full(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, goOn := make(chan struct{}, 2*manyFlows), make(chan struct{})
			p := onSmallSQLite(t, 2, rt, true, dataflow.Map(func(ctx context.Context, n number) (number, error) {
				if n.ID == 1 {
					begun <- struct{}{}
				}
				select {
				case <-goOn:
					return n, nil
				case <-ctx.Done():
					return n, ctx.Err()
				}
			}))
			ids := p.start()
			receive(p.dbT, begun)
			var waiting, working []int64
			require.Eventually(t, func() bool {
				waiting, working = nil, nil
				for _, id := range ids {
					run, err := p.client.Run(t.Context(), id)
					require.NoError(t, err)
					if run.State == dataflow.RunInProgress {
						working = append(working, id)
					} else if run.WaitsFor != "" {
						waiting = append(waiting, id)
					}
				}
				return len(working) == 1 && len(waiting) == len(ids)-1
			}, patience, 50*time.Millisecond)
			run, err := p.client.Run(t.Context(), waiting[0])
			require.NoError(t, err)
			require.Contains(t, run.WaitsFor, "the pool of connections has no room for the run: of 2, other runs hold 1")
			_, err = p.client.Cancel(t.Context(), working[0], "ops", "not today")
			require.NoError(t, err)
			receive(p.dbT, begun) // of the next run, which has the connection of the cancelled one
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			require.NoError(t, p.client.Stop(ctx))
			require.Zero(t, p.number("select count(*) from dataflow_run where state = 'in_progress'"))
		})
	}
}

const sqliteWorkerEnv = "DATAFLOW_TEST_SQLITE_WORKER"

// sqliteWorker works the flows of a file in another process, until its standard input ends.
func sqliteWorker(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(os.Getenv(sqliteWorkerEnv + "_SIZE"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(size)
	config := &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Lease: 2 * time.Second, PollInterval: 200 * time.Millisecond}
	for i := range manyFlows {
		config.Flows = append(config.Flows, sqliteFlow(db, i, runtimes[os.Getenv(sqliteWorkerEnv+"_RUNTIME")], size > 1, dataflow.Identity[number]()))
	}
	client, err := dataflow.NewClient(dataflowsqlite.New(db), config)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := client.Stop(ctx); err != nil {
		return err
	}
	return db.Close()
}

// TestPoolSQLite_Processes has two processes that work the flows of one file.
func TestPoolSQLite_Processes(t *testing.T) {
	t.Parallel()
	for name := range runtimes {
		for _, size := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				path := migratedFile(t)
				db := dbtest.OpenSQLite(t, path)
				sqliteTables(t, db)
				p := &sqlitePooled{dbT: sqlite(t, path)}
				config := &dataflow.Config{Logger: slog.New(slog.DiscardHandler)}
				for i := range manyFlows {
					config.Flows = append(config.Flows, sqliteFlow(dbtest.OpenSQLite(t, path), i, runtimes[name], false, dataflow.Identity[number]()))
					p.names = append(p.names, config.Flows[i].Name)
				}
				var err error
				p.client, err = dataflow.NewClient(dataflowsqlite.New(db), config)
				require.NoError(t, err)
				require.NoError(t, p.client.Register(t.Context()))
				for range 2 {
					cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
					cmd.Env = append(os.Environ(), sqliteWorkerEnv+"="+path, sqliteWorkerEnv+"_SIZE="+strconv.Itoa(size), sqliteWorkerEnv+"_RUNTIME="+name)
					cmd.Stderr = os.Stderr
					in, err := cmd.StdinPipe()
					require.NoError(t, err)
					out, err := cmd.StdoutPipe()
					require.NoError(t, err)
					require.NoError(t, cmd.Start())
					ready := make([]byte, 6)
					_, err = io.ReadFull(out, ready)
					require.NoError(t, err)
					t.Cleanup(func() {
						require.NoError(t, in.Close())
						require.NoError(t, cmd.Wait())
					})
				}
				for range 3 {
					var ids []int64
					for _, flow := range p.names {
						run, err := p.client.Enqueue(t.Context(), flow, nil)
						require.NoError(t, err)
						ids = append(ids, run.ID)
					}
					for _, id := range ids {
						run, err := p.wait(p.client, id)
						require.NoError(t, err)
						require.Equal(t, []any{1, 0}, []any{run.Attempt, run.Rescues})
					}
				}
				for i := range manyFlows {
					require.EqualValues(t, sqliteRows, p.number(fmt.Sprintf("select count(*) from target%d where v = 'value ' || id", i)))
				}
			})
		}
	}
}
