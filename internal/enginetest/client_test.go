package enginetest_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// numbers yields 1 to n; the cursor is the last number.
type numbers struct{ n int }

func (s numbers) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= s.n; i++ {
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

// readFunc is a source that is a function.
type readFunc func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool)

func (f readFunc) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) { f(ctx, r, yield) }
}

// appendTo inserts numbers into a table without a unique key.
func appendTo(table string) dataflow.Target[int] {
	return dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		return insertInto(ctx, table, rows)
	}))
}

// insertInto inserts numbers in the checkpoint's transaction.
func insertInto(ctx context.Context, table string, rows []int) error {
	for _, n := range rows {
		if tx, ok := dataflowpgx.TxFrom(ctx); ok {
			if _, err := tx.Exec(ctx, "insert into "+table+" (n) values ($1)", n); err != nil {
				return err
			}
			continue
		}
		tx, _ := dataflowsqlite.TxFrom(ctx)
		if _, err := tx.ExecContext(ctx, "insert into "+table+" (n) values (?)", n); err != nil {
			return err
		}
	}
	return nil
}

// flowTo declares a flow that appends the numbers 1 to n to the table of its
// name.
func flowTo(table string, n int, transform dataflow.Transform[int, int], opts *dataflow.FlowOptions) *dataflow.Flow {
	return dataflow.NewFlow(table, numbers{n: n}, transform, appendTo(table), opts)
}

// starts are the ways to start a run of a flow.
func starts(flow *dataflow.Flow) map[string]func(context.Context) (*dataflow.Run, error) {
	return map[string]func(context.Context) (*dataflow.Run, error){
		"Execute":   func(ctx context.Context) (*dataflow.Run, error) { return flow.Runtime.Execute(ctx, flow) },
		"ExecuteAt": func(ctx context.Context) (*dataflow.Run, error) { return flow.Runtime.ExecuteAt(ctx, flow, someTime) },
		"ScheduleNext": func(ctx context.Context) (*dataflow.Run, error) {
			return flow.Runtime.ScheduleNext(ctx, flow, someTime)
		},
		"Trigger": func(ctx context.Context) (*dataflow.Run, error) { return flow.Client().Trigger(ctx, flow.Name, nil) },
	}
}

// someTime is far away, and has the precision that both databases keep.
var someTime = time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC)

// requirePublic checks that an error names the library, once.
func requirePublic(t require.TestingT, err error) {
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), "dataflow: "), "%s", err)
	require.Equal(t, 1, strings.Count(err.Error(), "dataflow: "), "%s", err)
}

func TestClient(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		require.NoError(t, t.exec("create table numbers (n integer)"))
		for _, rt := range []dataflow.Runtime{dataflow.Heartbeat{BatchSize: 10}, dataflow.JobQueue{BatchSize: 10}} {
			name := "numbers on " + rt.Type()
			flow := dataflow.NewFlow(name, numbers{n: 95}, dataflow.Identity[int](), appendTo("numbers"), &dataflow.FlowOptions{Runtime: rt})
			client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}}))
			run, err := t.execute(client, name)
			require.NoError(t, err)
			run, err = t.wait(client, run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 95, Written: 95}, run.Counters)
			require.Equal(t, "95", string(run.ToCursor))
		}
		require.Equal(t, int64(190), t.number("select count(*) from numbers"))
	})
}

func TestClient_TriggerTx(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("jq", "hb", "orders")
		client := t.registered(
			flowTo("jq", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			flowTo("hb", 3, dataflow.Identity[int](), nil),
		)
		for _, name := range []string{"jq", "hb"} {
			for _, commit := range []bool{false, true} {
				t.inTx(func(tx dataflow.Tx, exec func(string)) bool {
					exec("insert into orders (n) values (1)")
					run, err := client.TriggerTx(t.Context(), tx, name, &dataflow.TriggerOptions{At: someTime, Actor: "ann", Reason: "an order"})
					require.NoError(t, err)
					require.Equal(t, dataflow.RunPending, run.State)
					require.False(t, run.Coalesced)
					require.True(t, someTime.Equal(run.RunAfter))
					require.Equal(t, "ann: an order", run.Actor+": "+run.Reason)
					same, err := client.TriggerTx(t.Context(), tx, name, &dataflow.TriggerOptions{At: someTime})
					require.NoError(t, err)
					require.True(t, same.Coalesced)
					require.Equal(t, run.ID, same.ID)
					now, err := client.TriggerTx(t.Context(), tx, name, nil)
					require.NoError(t, err)
					require.NotEqual(t, run.ID, now.ID)
					return commit
				})
			}
		}
		require.Equal(t, int64(2), t.number("select count(*) from orders"))
		t.requireRows(4, 2)
	})
}

func TestClient_TriggerTx_Refused(t *testing.T) {
	t.Parallel()
	pg, lite := migratedPostgres(t), sqlite(t, migratedFile(t))
	for _, pair := range [][2]*dbT{{pg, lite}, {lite, pg}} {
		own, other := pair[0], pair[1]
		own.table("jq")
		client := own.registered(flowTo("jq", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}))
		flow, err := client.Flow(t.Context(), "jq")
		require.NoError(t, err)
		other.inTx(func(tx dataflow.Tx, _ func(string)) bool {
			_, err := client.TriggerTx(t.Context(), tx, "jq", nil)
			require.ErrorIs(t, err, dataflow.ErrTxMismatch)
			requirePublic(t, err)
			require.ErrorContains(t, err, `"jq"`)
			_, err = flow.Runtime.(dataflow.TxRuntime).ExecuteTx(t.Context(), tx, flow, time.Time{})
			require.ErrorIs(t, err, dataflow.ErrTxMismatch)
			requirePublic(t, err)
			return true
		})
		for _, tx := range []dataflow.Tx{dataflowpgx.Tx(nil), dataflowsqlite.Tx(nil)} {
			_, err := client.TriggerTx(t.Context(), tx, "jq", nil)
			require.ErrorIs(t, err, dataflow.ErrTxMismatch)
		}
		_, err = client.TriggerTx(t.Context(), nil, "jq", nil)
		requirePublic(t, err)
		require.ErrorAs(t, err, new(*dataflow.ConfigError))
		require.ErrorContains(t, err, "tx: it is nil: use dataflowpgx.Tx(tx) or dataflowsqlite.Tx(tx)")
		own.requireRows(0, 0)
	}
	_, err := dataflowsqlite.RiverClient(pg.client(nil))
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
	_, err = dataflowpgx.RiverClient(lite.client(nil))
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
	requirePublic(t, err)
}

func TestClient_Trigger(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		client := t.registered(flowTo("hb", 3, dataflow.Identity[int](), nil))
		run, err := client.Trigger(t.Context(), "hb", &dataflow.TriggerOptions{Actor: "ann", Reason: "now"})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.Equal(t, "ann: now", run.Actor+": "+run.Reason)
		run, err = client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, "ann: now", run.Actor+": "+run.Reason)
	})
}

// A client starts once. It refuses to start again, after Stop, or without the tables.
func TestClient_StartAndStop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb", "jq")
		flows := []*dataflow.Flow{
			flowTo("hb", 3, dataflow.Identity[int](), nil),
			flowTo("jq", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
		}
		client := t.started(t.client(&dataflow.Config{Flows: flows}))
		requirePublic(t, client.Start(t.Context()))
		t.stop(client)
		t.stop(client)
		err := client.Start(t.Context())
		require.ErrorIs(t, err, dataflow.ErrStopped)
		requirePublic(t, err)
		_, err = client.Tick(t.Context())
		require.ErrorIs(t, err, dataflow.ErrStopped)
		requirePublic(t, err)
		_, err = t.execute(client, "hb")
		require.ErrorIs(t, err, dataflow.ErrStopped)
		requirePublic(t, err)
		t.requireRows(0, 0)

		never := t.client(&dataflow.Config{Flows: flows})
		t.stop(never)
		require.ErrorIs(t, never.Start(t.Context()), dataflow.ErrStopped)

		require.NoError(t, client.MigrateDown(t.Context(), 0))
		err = t.client(nil).Start(t.Context())
		requirePublic(t, err)
		require.ErrorContains(t, err, "igrat")
	})
}

func TestClient_ClosedPool(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		client := t.registered(flowTo("hb", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}}))
		flow, err := client.Flow(t.Context(), "hb")
		require.NoError(t, err)
		t.close()
		calls := starts(flow)
		calls["Tick"] = func(ctx context.Context) (*dataflow.Run, error) { _, err := client.Tick(ctx); return nil, err }
		calls["FlowExecutor"] = func(ctx context.Context) (*dataflow.Run, error) {
			return dataflow.NewFlowExecutor(client).Execute(ctx, 1)
		}
		for how, call := range calls {
			_, err := call(t.Context())
			requirePublic(t, err)
			require.ErrorContains(t, err, "closed", how)
		}
	})
}

// chore is a job of the service's own.
type chore struct {
	Name string `json:"name"`
}

func (chore) Kind() string { return "chore" }

type choreWorker struct {
	river.WorkerDefaults[chore]
	done chan string
}

func (w *choreWorker) Work(_ context.Context, job *river.Job[chore]) error {
	w.done <- job.Args.Name
	return nil
}

// A service that already has River keeps its workers and queues, whether the client
// adds its own to them or joins a River client.
func TestClient_UsersRiver(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(t *dbT, flow *dataflow.Flow, conf *river.Config) (*dataflow.Client, riverClient){
		"ConfigRiver": func(t *dbT, flow *dataflow.Flow, conf *river.Config) (*dataflow.Client, riverClient) {
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, River: conf})
			return t.started(client), t.river(client)
		},
		"UseRiver": func(t *dbT, flow *dataflow.Flow, conf *river.Config) (*dataflow.Client, riverClient) {
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.NoError(t, client.AddWorker(conf.Workers))
			conf.Queues["etl"] = river.QueueConfig{MaxWorkers: 1}
			rc := t.joined(client, conf)
			require.NoError(t, rc.Start(t.Context()))
			t.Cleanup(func() { t.stop(rc) })
			return t.started(client), rc
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				t.table("f")
				worker := &choreWorker{done: make(chan string, 1)}
				conf := t.withQueue("chores")
				conf.Workers = river.NewWorkers()
				river.AddWorker(conf.Workers, worker)
				client, rc := connect(t, onQueue("f", dataflow.Identity[int](), dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}}), conf)
				_, err := rc.Insert(t.Context(), chore{Name: "dishes"}, &river.InsertOpts{Queue: "chores"})
				require.NoError(t, err)
				run, err := t.execute(client, "f")
				require.NoError(t, err)
				_, err = t.wait(client, run.ID)
				require.NoError(t, err)
				require.Equal(t, "dishes", receive(t, worker.done))
				t.requireExactly("f", 3)
				if name == "UseRiver" {
					t.stop(client)
					_, err = rc.Insert(t.Context(), chore{Name: "windows"}, &river.InsertOpts{Queue: "chores"})
					require.NoError(t, err)
					require.Equal(t, "windows", receive(t, worker.done), "the service's River client is not stopped")
				}
			})
		})
	}
}

// A River client whose jobs are in another schema is refused.
func TestUseRiver_Schema(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	for _, c := range []struct{ ours, rivers, want string }{
		{"", "", ""},
		{"app", "", ""},
		{"", "jobs", ""},
		{"app", "app", ""},
		{"app", "jobs", `its schema is "jobs", and this client's is "app": give both the same Schema`},
	} {
		client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Schema: c.ours})
		require.NoError(t, err)
		rc, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: c.rivers})
		require.NoError(t, err)
		err = dataflow.UseRiver(client, rc)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		var bad *dataflow.ConfigError
		require.ErrorAs(t, err, &bad)
	}
}

// If only one of the two clients names its schema, the database tells whether they share River's tables.
// A service that had both in different schemas gave its own jobs and the jobs of runs the same ids.
func TestUseRiver_SearchPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ours, rivers, path string
		same               bool
	}{
		{"app", "", "public", false},
		{"", "jobs", "public", false},
		{"app", "", "app, public", true},
		{"", "jobs", "jobs, public", true},
	} {
		t.Run(c.ours+c.rivers+" in "+c.path, func(t *testing.T) {
			t.Parallel()
			config, err := pgxpool.ParseConfig(dbtest.PostgresURL(t))
			require.NoError(t, err)
			config.ConnConfig.RuntimeParams["search_path"] = c.path
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			_, err = pool.Exec(t.Context(), `create schema app; create schema jobs`)
			require.NoError(t, err)
			migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: c.rivers})
			require.NoError(t, err)
			_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
			require.NoError(t, err)

			d := onPool(t, pool)
			d.table("f")
			worker := &choreWorker{done: make(chan string, 1)}
			conf := d.withQueue(river.QueueDefault)
			conf.Schema, conf.Workers = c.rivers, river.NewWorkers()
			river.AddWorker(conf.Workers, worker)
			client := d.client(&dataflow.Config{Schema: c.ours, River: d.quickRiver(), Flows: []*dataflow.Flow{onQueue("f", dataflow.Identity[int](), dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: river.QueueDefault}})}})
			require.NoError(t, client.AddWorker(conf.Workers))
			rc := d.joined(client, conf)
			require.NoError(t, client.Migrate(t.Context()))
			_, err = rc.Insert(t.Context(), chore{Name: "dishes"}, nil) // which has the first id there
			require.NoError(t, err)
			require.NoError(t, rc.Start(t.Context()))
			t.Cleanup(func() { d.stop(rc) })

			require.NoError(t, client.Register(t.Context()))
			run, err := client.Enqueue(t.Context(), "f", nil)
			if c.same {
				require.NoError(t, err)
				d.started(client)
				_, err = d.wait(client, run.ID)
				require.NoError(t, err)
				d.requireExactly("f", 3)
			} else {
				for _, err := range []error{err, client.Start(t.Context())} {
					var bad *dataflow.ConfigError
					require.ErrorAs(t, err, &bad)
					require.ErrorContains(t, err, fmt.Sprintf("its schema is %q, and this client's is %q", c.rivers, c.ours))
					requirePublic(t, err)
				}
			}
			require.Equal(t, "dishes", receive(d, worker.done))
		})
	}
}

func TestUseRiver_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(nil)
		if t.isPostgres {
			require.ErrorIs(t, dataflow.UseRiver(client, &river.Client[*sql.Tx]{}), dataflow.ErrTxMismatch)
		} else {
			require.ErrorIs(t, dataflow.UseRiver(client, &river.Client[pgx.Tx]{}), dataflow.ErrTxMismatch)
		}
		requirePublic(t, dataflow.UseRiver(client, (*river.Client[pgx.Tx])(nil)))
		requirePublic(t, client.AddWorker(nil))
		workers := river.NewWorkers()
		require.NoError(t, client.AddWorker(workers))
		requirePublic(t, client.AddWorker(workers))

		t.river(client) // the client makes its own at the first use
		if t.isPostgres {
			requirePublic(t, dataflow.UseRiver(client, &river.Client[pgx.Tx]{}))
		} else {
			requirePublic(t, dataflow.UseRiver(client, &river.Client[*sql.Tx]{}))
		}
	})
}
