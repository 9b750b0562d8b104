package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// version is a row of a source: which version of it there is.
type version struct{ ID, At int }

// changing is a source of rows in the order of their last changes. It does not yield the versions
// before.
type changing struct {
	mu     sync.Mutex // guards what follows
	last   int
	at     map[int]int // by id
	refuse int         // the id of a row that cannot be read; 0: none
	reads  []dataflow.Request[int]
	onRead func() // called in a read, before each row
}

func newChanging(n int) *changing {
	l := &changing{at: make(map[int]int)}
	for id := 1; id <= n; id++ {
		l.change(id)
	}
	return l
}

// change adds or changes a row.
func (l *changing) change(id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.at[id] = l.last
}

func (l *changing) rows(r dataflow.Request[int]) []version {
	var rows []version
	for id, at := range l.at {
		if at > r.From && (!r.Bounded || at <= r.Until) {
			rows = append(rows, version{ID: id, At: at})
		}
	}
	slices.SortFunc(rows, func(a, b version) int { return a.At - b.At })
	return rows
}

func (l *changing) Read(_ context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[version, int], error] {
	return func(yield func(dataflow.Item[version, int], error) bool) {
		l.mu.Lock()
		l.reads = append(l.reads, r)
		rows, refuse, onRead := l.rows(r), l.refuse, l.onRead
		l.mu.Unlock()
		for _, row := range rows {
			if onRead != nil {
				onRead()
			}
			if row.ID == refuse {
				yield(dataflow.Item[version, int]{}, dataflow.Permanent(errors.New("the disk is broken")))
				return
			}
			if !yield(dataflow.Item[version, int]{Value: row, Cursor: row.At, Resume: true}, nil) {
				return
			}
		}
	}
}

func (l *changing) CheckRequest(dataflow.Request[int]) error { return nil }

func (l *changing) SeekEnd(context.Context, dataflow.Request[int]) (int, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.last > 0, nil
}

func (l *changing) Split(_ context.Context, r dataflow.Request[int], n int) ([]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.rows(r)
	n = min(n, len(rows))
	var cuts []int
	for i := 1; i < n; i++ {
		cuts = append(cuts, rows[len(rows)*i/n-1].At)
	}
	return cuts, nil
}

// loads is a flow of such a source into the table "versions", which it makes. It begins in four ranges.
func (t *dbT) loads(l *changing, rt dataflow.Runtime) *dataflow.Flow {
	t.Helper()
	require.NoError(t, t.exec("create table versions (id integer primary key, at integer not null)"))
	return dataflow.NewFlow("l", l, dataflow.Identity[version](), dataflow.ToTx(versions{}), &dataflow.FlowOptions{Runtime: rt, FirstLoad: 4, MaxBackfills: 2})
}

// versions is a sink that upserts into the table of that name.
type versions struct{}

func (versions) WriteTx(ctx context.Context, rows []version) error {
	for _, row := range rows {
		statement := fmt.Sprintf("insert into versions (id, at) values (%d, %d) on conflict (id) do update set at = excluded.at", row.ID, row.At)
		if tx, ok := dataflowpgx.TxFrom(ctx); ok {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		} else if tx, ok := dataflowsqlite.TxFrom(ctx); ok {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}

// requireLoaded requires that the table holds the rows of the source, and that the cursor is at its end.
func (t *dbT) requireLoaded(client *dataflow.Client, l *changing) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.EqualValues(t, len(l.at), t.number("select count(*) from versions"))
	for id, at := range l.at {
		require.EqualValues(t, at, t.number(fmt.Sprintf("select at from versions where id = %d", id)), "row %d", id)
	}
	require.Equal(t, fmt.Sprint(l.last), string(t.live(client, "l").Cursor))
}

// ranges returns the runs of the first load, oldest first.
func (t *dbT) loadRanges(client *dataflow.Client) []*dataflow.Run {
	t.Helper()
	runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "l", Trigger: dataflow.TriggerFirstLoad})
	require.NoError(t, err)
	slices.Reverse(runs)
	return runs
}

// The first run of a flow reads the source in ranges, and then what has changed meanwhile. It does
// so alone, where nobody else works the flow's runs, and with a started client on each Runtime.
func TestFirstLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		var once sync.Once
		l.onRead = func() {
			once.Do(func() {
				for _, id := range []int{2, 39, 41} {
					l.change(id)
				}
			})
		}
		client := t.registered(t.loads(l, dataflow.Heartbeat{BatchSize: 3}))
		run, err := t.execute(client, "l")
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		require.EqualValues(t, 3, run.Counters.Read, "what has changed since the first load began")
		require.Equal(t, []string{"null", "43"}, []string{string(run.FromCursor), string(run.ToCursor)})
		ranges := t.loadRanges(client)
		require.Equal(t, []string{"10", "20", "30", "40"}, untils(ranges))
		for i, r := range ranges {
			require.Equal(t, dataflow.RunSuccess, r.State)
			require.Equal(t, i > 0, strings.Contains(r.Scope, "/"))
			require.Equal(t, fmt.Sprintf("first load by run %d", run.ID), r.Reason)
		}
		for _, r := range l.reads {
			require.Equal(t, r.Bounded, r.Whole)
			require.False(t, !r.Bounded && r.Continued, "what the run reads after the ranges is not where it stopped itself: a lookback begins there")
		}
		t.requireLoaded(client, l)

		flow, err := client.Flow(t.Context(), "l")
		require.NoError(t, err)
		all, err := flow.Backfills(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.InDelta(t, 1, all[0].Done, 0)
		require.Equal(t, 4, all[0].Succeeded)

		l.change(7)
		run, err = t.execute(client, "l")
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.Read)
		t.requireLoaded(client, l)
		require.Len(t, t.loadRanges(client), 4)

		// Whoever sets the cursor to the beginning wants all to be read again.
		cur := t.live(client, "l")
		_, err = client.SetCursor(t.Context(), "l", &dataflow.SetCursorParams{IfSeq: &cur.Seq, Actor: "ann"})
		require.NoError(t, err)
		_, err = t.execute(client, "l")
		require.NoError(t, err)
		require.Len(t, t.loadRanges(client), 8)
		t.requireLoaded(client, l)
	})
}

// A statement of the first load that something holds up for a moment, such as a lock, is tried again. It costs no attempt.
func TestFirstLoad_InTheWay(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"57014", "55P03", "40001"} {
		t.Run(code, func(inner *testing.T) {
			inner.Parallel()
			t := migratedPostgres(inner)
			l := newChanging(40)
			client := t.registered(t.loads(l, dataflow.Heartbeat{BatchSize: 3}))
			for _, sql := range []string{
				`create sequence tries`,
				`create function refuse() returns trigger language plpgsql as $$ begin
					if nextval('tries') <= 2 then raise exception 'as if' using errcode = '` + code + `'; end if;
					return new; end $$`,
				`create trigger refuse before insert on dataflow_run for each row when (new.trigger = 'first_load') execute function refuse()`,
			} {
				require.NoError(t, t.exec(sql))
			}
			run, err := t.execute(client, "l")
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			require.Empty(t, run.Errors)
			require.Greater(t, t.number(`select last_value from tries`), int64(2))
			t.requireLoaded(client, l)
		})
	}
}

// Started clients share the ranges. With one worker, the run that waits lets the ranges work.
func TestFirstLoad_Started(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, rt := range map[string]dataflow.Runtime{"heartbeat": dataflow.Heartbeat{BatchSize: 3}, "job queue": dataflow.JobQueue{Queue: "etl", BatchSize: 3}} {
			l := newChanging(40)
			require.NoError(t, t.exec("drop table if exists versions"))
			require.NoError(t, t.exec("delete from dataflow_run"))
			require.NoError(t, t.exec("delete from dataflow_checkpoint"))
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.loads(l, rt)}, MaxWorkers: 1, PollInterval: 20 * time.Millisecond, River: t.withQueue("etl")})
			require.NoError(t, client.Start(t.Context()))
			run, err := client.Enqueue(t.Context(), "l", nil)
			require.NoError(t, err, name)
			run, err = t.wait(client, run.ID)
			require.NoError(t, err, name)
			require.Equal(t, dataflow.RunSuccess, run.State, name)
			require.Len(t, t.loadRanges(client), 4, name)
			t.requireLoaded(client, l)
			t.stop(client)
		}
	})
}

// A range that fails fails the run that waits, which says which it was. The cursor stays, and the
// next run goes on with what is missing.
func TestFirstLoad_Failed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		l.refuse = 25
		client := t.registered(t.loads(l, dataflow.Heartbeat{BatchSize: 3}))
		run, err := t.execute(client, "l")
		var re *dataflow.RunError
		require.ErrorAs(t, err, &re)
		require.Equal(t, dataflow.RunFailed, run.State)
		failed := t.loadRanges(client)[2]
		for _, text := range []string{"range 3 of 4 of the first load, after 20 up to 30, is failed", fmt.Sprintf("as run %d", failed.ID), "the disk is broken", "the cursor stays at the beginning"} {
			require.Contains(t, run.Error, text)
		}
		require.Nil(t, t.live(client, "l").Cursor)
		why, err := client.Why(t.Context(), "l")
		require.NoError(t, err)
		require.Contains(t, why.String(), "range 3 of 4 of the first load")

		l.change(26) // it leaves the range that is read again
		l.refuse = 0
		before := len(l.reads)
		run, err = t.execute(client, "l")
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.Read)
		t.requireLoaded(client, l)
		ranges := t.loadRanges(client)
		again := ranges[len(ranges)-1]
		require.Equal(t, failed.Scope, again.Scope)
		require.Contains(t, again.Reason, fmt.Sprintf("and with run %d", failed.ID))
		for _, r := range l.reads[before:] {
			require.GreaterOrEqual(t, r.From, 20, "it has gone on at the checkpoint")
		}
	})
}

// While the ranges are worked, Why says how many are done. Whoever cancels the run that waits
// cancels the ranges.
func TestFirstLoad_Cancelled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		l.onRead = func() { once.Do(func() { close(reached); <-goOn }) }
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.loads(l, dataflow.Heartbeat{BatchSize: 3})}, MaxWorkers: 4, PollInterval: 20 * time.Millisecond, Lease: time.Second})
		t.started(client)
		run, err := client.Enqueue(t.Context(), "l", nil)
		require.NoError(t, err)
		receive(t, reached)
		var why *dataflow.Explanation
		require.Eventually(t, func() bool {
			var err error
			why, err = client.Why(t.Context(), "l")
			return err == nil && slices.ContainsFunc(why.Causes, func(c dataflow.Cause) bool { return c.Code == dataflow.CauseFirstLoad })
		}, patience, time.Millisecond)
		require.Contains(t, why.String(), fmt.Sprintf("Run %d waits for its ranges: ", run.ID))
		require.Contains(t, why.String(), ", a range of the first load, is in progress")
		_, err = client.Cancel(t.Context(), run.ID, "ann", "not now")
		require.NoError(t, err)
		close(goOn)
		run, err = t.wait(client, run.ID)
		require.Error(t, err)
		require.Equal(t, dataflow.RunCancelled, run.State)
		require.Eventually(t, func() bool {
			return t.number("select count(*) from dataflow_run where state in ('pending', 'in_progress')") == 0
		}, patience, 10*time.Millisecond)
		require.Nil(t, t.live(client, "l").Cursor)

		run, err = client.Enqueue(t.Context(), "l", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		t.requireLoaded(client, l)
	})
}

// halfway returns a client that knows a flow whose first load has begun, and the run that waits for the
// ranges. Its worker has handed both back: they are pending.
func (t *dbT) halfway(l *changing) (*dataflow.Client, *dataflow.Run) {
	t.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.onRead = func() { once.Do(func() { close(reached); <-goOn }) }
	flow := t.loads(l, dataflow.Heartbeat{BatchSize: 3})
	client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, PollInterval: 20 * time.Millisecond})
	require.NoError(t, client.Start(t.Context()))
	run, err := client.Enqueue(t.Context(), "l", nil)
	require.NoError(t, err)
	receive(t, reached)
	stopped := make(chan error)
	go func() { stopped <- client.Stop(context.WithoutCancel(t.Context())) }()
	close(goOn)
	require.NoError(t, receive(t, stopped))
	client = t.registered(dataflow.NewFlow("l", l, dataflow.Identity[version](), dataflow.ToTx(versions{}), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{BatchSize: 3}, FirstLoad: 4, MaxBackfills: 2,
	}))
	run, err = client.Run(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunPending, run.State)
	require.NotZero(t, t.number("select count(*) from dataflow_run where trigger = 'first_load' and state = 'pending'"))
	return client, run
}

const liveRanges = "select count(*) from dataflow_run where trigger = 'first_load' and state in ('pending', 'in_progress')"

// Whoever cancels the run that waits cancels the ranges, also while it waits to be worked again.
func TestFirstLoad_CancelledWhilePending(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client, run := t.halfway(newChanging(40))
		other, err := client.Enqueue(t.Context(), "l", &dataflow.TriggerOptions{At: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		_, err = client.Cancel(t.Context(), other.ID, "ann", "it has not begun")
		require.NoError(t, err)
		require.NotZero(t, t.number(liveRanges), "that run waited for nothing")
		other, err = client.Enqueue(t.Context(), "l", &dataflow.TriggerOptions{At: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set lease_no = 1 where id = %d", other.ID)))
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set state = 'in_progress', slot = 0 where id = %d", run.ID)))
		_, err = client.Cancel(t.Context(), other.ID, "ann", "another one waits for them now")
		require.NoError(t, err)
		require.NotZero(t, t.number(liveRanges))
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set state = 'pending', slot = null where id = %d", run.ID)))
		_, err = client.Cancel(t.Context(), run.ID, "ann", "not now")
		require.NoError(t, err)
		require.Zero(t, t.number(liveRanges))
		require.Contains(t, t.loadRanges(client)[3].CancelReason, fmt.Sprintf("run %d was cancelled, which waited for it", run.ID))
	})
}

// A range that is at work ends some time after the run that waits was cancelled. The flow's next run may have begun
// by then: it goes on with that range, and does not fail for it.
func TestFirstLoad_CancelledRangeEndsLate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		client, run := t.halfway(l)
		reached, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		l.onRead = func() { once.Do(func() { close(reached); <-goOn }) }
		atWork := t.number("select min(id) from dataflow_run where trigger = 'first_load' and state = 'pending'")
		ended := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), atWork)
			ended <- err
		}()
		receive(t, reached)
		_, err := client.Cancel(t.Context(), run.ID, "ann", "not now")
		require.NoError(t, err)

		next, err := client.Enqueue(t.Context(), "l", nil)
		require.NoError(t, err)
		worked := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), next.ID)
			worked <- err
		}()
		require.Eventually(t, func() bool {
			waiting, err := client.Run(t.Context(), next.ID)
			return err == nil && strings.HasSuffix(waiting.WaitsFor, "are done, 1 are in progress")
		}, patience, 10*time.Millisecond)
		close(goOn)
		require.Error(t, receive(t, ended))
		late, err := client.Run(t.Context(), atWork)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunCancelled, late.State)
		require.NoError(t, receive(t, worked))
		t.requireLoaded(client, l)
	})
}

// If somebody sets the cursor meanwhile, the ranges end before the flow reads on from there.
func TestFirstLoad_CursorSet(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		client, run := t.halfway(l)
		cur := t.live(client, "l")
		_, err := client.SetCursor(t.Context(), "l", &dataflow.SetCursorParams{Cursor: cursorAt(38), IfSeq: &cur.Seq, Actor: "ann"})
		require.NoError(t, err)
		run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
		require.EqualValues(t, 2, run.Counters.Read, "39 and 40")
		require.Zero(t, t.number(liveRanges))
		require.Len(t, t.loadRanges(client), 4)
	})
}

// A run that waits for its ranges is not given up because its workers have died: it has no batch of its own.
func TestFirstLoad_WorkersDied(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		client, run := t.halfway(l)
		require.NoError(t, t.exec("update dataflow_run set rescues = 4"))
		l.onRead = func() {
			require.Zero(t, t.number(fmt.Sprintf("select rescues from dataflow_run where id = %d", run.ID)))
		}
		run, err := dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		t.requireLoaded(client, l)
	})
}

// A run with other parameters reads other records: it begins its own first load.
func TestFirstLoad_OtherParams(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newChanging(40)
		client, run := t.halfway(l)
		_, err := client.Cancel(t.Context(), run.ID, "ann", "wrong parameters")
		require.NoError(t, err)
		run, err = client.Trigger(t.Context(), "l", &dataflow.TriggerOptions{Params: json.RawMessage(`{"shop": 7}`)})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
		ranges := t.loadRanges(client)
		require.Len(t, ranges, 8)
		for i, r := range ranges {
			require.Equal(t, i >= 4, r.Params != nil)
		}
		t.requireLoaded(client, l)
	})
}

// A flow that cannot go on after ranges is refused, with the reason.
func TestFirstLoad_Refused(t *testing.T) {
	t.Parallel()
	upsert := func(n int, atOnce int) *dataflow.Flow {
		return dataflow.NewFlow("f", newChanging(1), dataflow.Identity[version](), pgtable.Upsert[version]("versions", "id"), &dataflow.FlowOptions{FirstLoad: n, MaxBackfills: atOnce})
	}
	opts := &dataflow.FlowOptions{FirstLoad: 4, MaxBackfills: 2}
	for reason, flow := range map[string]*dataflow.Flow{
		"1 is out of range: use 2 to 1000":        upsert(1, 1),
		"1001 is out of range":                    upsert(1001, 1),
		"MaxBackfills is 0":                       upsert(4, 0),
		"keeps each batch, so it would have a re": dataflow.NewFlow("f", newChanging(1), dataflow.Identity[version](), jsonl.WriteFiles[version](t.TempDir()), opts),
		"the target appends, or keeps each batch": dataflow.NewFlow("f", newChanging(1), dataflow.Identity[version](), pgtable.Insert[version]("versions"), opts),
		"it lacks a cursor, or the power En":      dataflow.NewFlow("f", ranged{n: 3}, dataflow.Identity[int](), dataflow.ToTx(dataflow.TxSinkFunc[int](func(context.Context, []int) error { return nil })), opts),
	} {
		_, err := dataflow.NewClient(dataflowsqlite.New(nil), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.ErrorContains(t, err, `Flows["f"].FirstLoad: `)
		require.ErrorContains(t, err, reason)
	}
}
