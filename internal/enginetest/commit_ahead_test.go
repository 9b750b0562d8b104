package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// pipelined is a sink that can be written ahead.
type pipelined struct{ dataflow.TxSinkFunc[int] }

func (pipelined) Pipelined() bool { return true }

// watched is a driver whose commits can be watched, and held.
type watched struct {
	dataflow.Driver
	commits, now atomic.Int64
	// before is called before a commit, with its number; its error is the commit's.
	before func(n int64) error
	most   atomic.Int64 // commits at once
}

type watchedStore struct {
	dataflow.Store
	together dataflow.CheckpointCommitter
	driver   *watched
}

type watchedTx struct {
	dataflow.CheckpointTx
	driver *watched
}

func (d *watched) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	together, _ := s.(dataflow.CheckpointCommitter)
	return watchedStore{Store: s, together: together, driver: d}, err
}

// Classify reports errBroken as a deadlock.
func (s watchedStore) Classify(err error) dataflow.Fault {
	return conflictingStore{s.Store}.Classify(err)
}

func (s watchedStore) BeginCheckpoint(ctx context.Context) (context.Context, dataflow.CheckpointTx, error) {
	ctx, tx, err := s.together.BeginCheckpoint(ctx)
	return ctx, watchedTx{CheckpointTx: tx, driver: s.driver}, err
}

func (t watchedTx) Commit(ctx context.Context, p *dataflow.RunCheckpointParams) func() (dataflow.LeaseStatus, error) {
	return func() (dataflow.LeaseStatus, error) { return t.commit(ctx, p) }
}

func (t watchedTx) commit(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	t.driver.most.Store(max(t.driver.now.Add(1), t.driver.most.Load()))
	defer t.driver.now.Add(-1)
	if err := t.driver.before(t.driver.commits.Add(1)); err != nil {
		return dataflow.LeaseStatus{}, t.Rollback(ctx, err)
	}
	return t.CheckpointTx.Commit(ctx, p)()
}

// aheadT works the numbers 1 to 30 in batches of 10 into table f. The first commit
// waits until the second batch is written.
type aheadT struct {
	*dbT
	driver  *watched
	logs    *logs
	written chan struct{} // closed when the second batch is written
	opts    dataflow.FlowOptions
	// second is called in the transaction of the second batch, when it is written.
	second func(ctx context.Context)
	// first is called between that and the first commit; its error is the commit's.
	first  func() error
	writes atomic.Int64
}

func newAhead(t *testing.T) *aheadT {
	t.Helper()
	a := &aheadT{dbT: migratedPostgres(t), logs: newLogs(), written: make(chan struct{}), opts: dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}}
	a.driver = &watched{Driver: a.dbT.driver, before: func(n int64) error {
		if n > 1 {
			return nil
		}
		receive(a.dbT, a.written)
		if a.first != nil {
			return a.first()
		}
		return nil
	}}
	a.dbT.driver = a.driver
	require.NoError(t, a.exec("create table f (n integer primary key)"))
	return a
}

func (a *aheadT) write(ctx context.Context, rows []int) error {
	err := insertInto(ctx, "f", rows)
	if a.writes.Add(1) == 2 {
		if a.second != nil {
			a.second(ctx)
		}
		close(a.written)
	}
	return err
}

func (a *aheadT) flow(transform dataflow.Transform[int, int]) *dataflow.Client {
	a.Helper()
	client := a.client(&dataflow.Config{Logger: a.logs.logger(), Flows: []*dataflow.Flow{
		dataflow.NewFlow("f", numbers{n: 30}, transform, dataflow.ToTx(pipelined{a.write}), &a.opts),
	}})
	require.NoError(a, client.Register(a.Context()))
	return client
}

// work works a run, and wants success.
func (a *aheadT) work(transform dataflow.Transform[int, int]) *dataflow.Run {
	a.Helper()
	run, err := a.execute(a.flow(transform), "f")
	require.NoError(a, err)
	a.requireExactly("f", 30)
	require.Equal(a, dataflow.Counters{Read: 30, Written: 30}, run.Counters)
	require.Equal(a, int64(1), a.driver.most.Load(), "one commit at a time")
	return run
}

// A batch is written while the batch before it is being committed, whose rows it does
// not see. It is committed after it.
func TestWriteAhead(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	var seen int
	a.second = func(ctx context.Context) {
		tx, _ := dataflowpgx.TxFrom(ctx)
		require.NoError(t, tx.QueryRow(ctx, "select count(*) from f").Scan(&seen))
	}
	a.work(dataflow.Identity[int]())
	require.Equal(t, 10, seen, "its own rows alone")
	require.EqualValues(t, 3, a.driver.commits.Load())
}

// There is no write-ahead for sinks without Pipelined, sources that cannot resume, and
// runs whose workers died.
func TestWriteAhead_NotUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"sink", "source", "suspect"} {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			db := migratedPostgres(t)
			db.table("f")
			db.driver = &watched{Driver: db.driver, before: func(int64) error {
				time.Sleep(20 * time.Millisecond) // time for a write-ahead to show, if there is one
				return nil
			}}
			var seen []int
			sink := dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
				var n int
				tx, _ := dataflowpgx.TxFrom(ctx)
				require.NoError(t, tx.QueryRow(ctx, "select count(*) from f").Scan(&n))
				seen = append(seen, n)
				return insertInto(ctx, "f", rows)
			})
			opts := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}
			flow := dataflow.NewFlow("f", numbers{n: 20}, dataflow.Identity[int](), dataflow.ToTx(pipelined{sink}), opts)
			switch c {
			case "sink":
				flow = dataflow.NewFlow("f", numbers{n: 20}, dataflow.Identity[int](), dataflow.ToTx(sink), opts)
			case "source":
				flow = dataflow.NewFlow("f", onceNumbers{n: 20}, dataflow.Identity[int](), dataflow.ToTx(pipelined{sink}), opts)
			}
			client := db.registered(flow)
			run, err := client.Enqueue(t.Context(), "f", nil)
			require.NoError(t, err)
			if c == "suspect" {
				require.NoError(t, db.exec("update dataflow_run set rescues = 1"))
			}
			_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, []int{0, 10}, seen)
		})
	}
}

// After a failed commit, the failed batch and the one written ahead are worked again,
// one after the other. The result is as if nothing had been written ahead.
func TestWriteAhead_CommitFails(t *testing.T) {
	t.Parallel()
	t.Run("passing", func(t *testing.T) {
		t.Parallel()
		a := newAhead(t)
		a.first = func() error { return errBroken }
		run := a.work(dataflow.Identity[int]())
		require.Equal(t, 1, run.Attempt)
		require.EqualValues(t, 5, a.writes.Load(), "the first two, and all of them")
	})
	t.Run("by the data", func(t *testing.T) {
		t.Parallel()
		a := newAhead(t)
		a.opts.OnBadRecord = dataflow.SkipUpTo(5)
		require.NoError(t, a.exec("alter table f drop constraint f_pkey, add constraint once unique (n) deferrable initially deferred"))
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) { return max(n, 2), nil })
		run, err := a.execute(a.flow(transform), "f")
		require.ErrorContains(t, err, `violates unique constraint "once"`)
		require.Zero(t, run.Counters)
		require.Zero(t, a.number("select count(*) from f"))
		require.NotContains(t, err.Error(), "next")
	})
}

// A batch is written while the batch before it is being committed, also if that one had a row that was refused.
func TestWriteAhead_AfterRefusedRow(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	a.opts.OnBadRecord = dataflow.DeadLetterUpTo(1)
	require.NoError(t, a.exec("alter table f add check (n <> 5)"))
	second := sync.OnceFunc(func() { close(a.written) })
	write := func(ctx context.Context, rows []int) error {
		if rows[0] > 10 {
			second()
		}
		return insertInto(ctx, "f", rows)
	}
	client := a.registered(dataflow.NewFlow("f", numbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx(pipelined{write}), &a.opts))
	run, err := a.execute(client, "f")
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 30, Written: 29, DeadLettered: 1}, run.Counters)
	require.EqualValues(t, 29, a.number("select count(*) from f"))
}

// If a run is taken over or cancelled, it ends with the batch that was being committed.
// The batch written ahead leaves nothing.
func TestWriteAhead_Ends(t *testing.T) {
	t.Parallel()
	t.Run("fenced", func(t *testing.T) {
		t.Parallel()
		a := newAhead(t)
		a.first = func() error { return a.exec("update dataflow_run set lease_no = lease_no + 1") }
		_, err := a.execute(a.flow(dataflow.Identity[int]()), "f")
		require.ErrorIs(t, err, dataflow.ErrFenced)
		require.Zero(t, a.number("select count(*) from f"))
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		a := newAhead(t)
		client := a.flow(dataflow.Identity[int]())
		run, err := client.Enqueue(t.Context(), "f", nil)
		require.NoError(t, err)
		a.first = func() error { return a.exec("update dataflow_run set cancel_requested_at = now()") }
		_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.Error(t, err)
		run, err = client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunCancelled, run.State)
		require.EqualValues(t, 10, run.Counters.Written)
		a.requireExactly("f", 10)
		require.Equal(t, "10", a.text("select cursor::text from dataflow_checkpoint"))
	})
}

// Another transaction has locked the run, for which the commit waits, and then wants a
// row that was written ahead. The database cannot see this deadlock.
func TestWriteAhead_HiddenDeadlock(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	other := make(chan struct{})
	a.first = func() error {
		locked := make(chan struct{})
		go a.inTx(func(_ dataflow.Tx, exec func(string)) bool {
			defer close(other)
			exec("select from dataflow_run for update")
			close(locked)
			exec("insert into f (n) values (15)")
			return false
		})
		receive(a.dbT, locked)
		return nil
	}
	a.work(dataflow.Identity[int]())
	require.Empty(t, a.logs.lines("trouble"), "the server has not had to end it")
	require.EqualValues(t, 4, a.writes.Load(), "one batch twice")
	receive(a.dbT, other)
}

// A source that waits for the checkpoint of its records gets it, though nothing is read
// in the meantime.
func TestWriteAhead_SourceWaits(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	db.table("f")
	source := &handshake{committed: make(chan int, 1)}
	client := db.registered(dataflow.NewFlow("f", source, dataflow.Identity[int](), dataflow.ToTx(pipelined{func(ctx context.Context, rows []int) error { return insertInto(ctx, "f", rows) }}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.Trigger(ctx, "f", nil)
	require.NoError(t, err)
	db.requireExactly("f", 30)
}

// handshake yields ten numbers at a time: the next ten after those are committed.
type handshake struct{ committed chan int }

func (h *handshake) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for n := r.From + 1; n <= 30; n++ {
			if !yield(dataflow.Item[int, int]{Value: n, Cursor: n, Resume: true}, nil) {
				return
			}
			if n%10 != 0 {
				continue
			}
			select {
			case <-h.committed:
			case <-ctx.Done():
				return
			}
		}
	}).Read(ctx, r)
}

func (h *handshake) Committed(_ context.Context, cursor int) error {
	h.committed <- cursor
	return nil
}

// The policy counts the bad records of the batch that is still being committed.
func TestWriteAhead_BadRecords(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	asked := make(chan struct{})
	var told []string
	a.opts.OnBadRecord = func(e *dataflow.RecordError, n int64) dataflow.Action {
		if told = append(told, fmt.Sprintf("%s: %d of %d", e.Key, n, e.Read)); len(told) == 2 {
			close(asked)
		}
		return dataflow.DeadLetter
	}
	a.first = func() error {
		receive(a.dbT, asked)
		return nil
	}
	client := a.flow(dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n%10 == 5 {
			return 0, errors.New("odd")
		}
		return n, nil
	}))
	run, err := a.execute(client, "f")
	require.NoError(t, err)
	require.Equal(t, []string{"5: 1 of 10", "15: 2 of 20", "25: 3 of 30"}, told)
	require.Equal(t, dataflow.Counters{Read: 30, Written: 27, DeadLettered: 3}, run.Counters)
	require.EqualValues(t, 3, a.number("select count(distinct key) from dataflow_dead_letter"))
}

// Under stricter isolation, a batch that began before the batch before it was committed
// cannot be committed. The run goes on one batch after the other.
func TestWriteAhead_Isolation(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			config := dbtest.Postgres(t).Config()
			config.ConnConfig.RuntimeParams["default_transaction_isolation"] = level
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			db := migrated(onPool(t, pool))
			db.table("f")
			flow := dataflow.NewFlow("f", numbers{n: 60}, dataflow.Identity[int](), dataflow.ToTx(pipelined{func(ctx context.Context, rows []int) error { return insertInto(ctx, "f", rows) }}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}})
			run, err := db.execute(db.registered(flow), "f")
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			require.Equal(t, dataflow.Counters{Read: 60, Written: 60}, run.Counters)
			db.requireExactly("f", 60)
		})
	}
}

// A source's acknowledgement may need a connection. Write-ahead leaves it one.
func TestWriteAhead_AckerOnSmallPool(t *testing.T) {
	t.Parallel()
	config := dbtest.Postgres(t).Config()
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db := migrated(onPool(t, pool))
	db.table("f", "acks")
	flow := dataflow.NewFlow("f", noting{numbers: numbers{n: 60}, db: db}, dataflow.Identity[int](), dataflow.ToTx(pipelined{func(ctx context.Context, rows []int) error { return insertInto(ctx, "f", rows) }}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}})
	client := db.registered(flow)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = client.Trigger(ctx, "f", nil)
	require.NoError(t, err)
	db.requireExactly("f", 60)
	require.EqualValues(t, 6, db.number("select count(*) from acks"))
}

// noting keeps its checkpoints in a table.
type noting struct {
	numbers
	db *dbT
}

func (a noting) Committed(_ context.Context, cursor int) error {
	return a.db.exec(fmt.Sprintf("insert into acks (n) values (%d)", cursor))
}

// A batch that is written ahead resolves a dead letter that the batch before it keeps.
func TestCommitAhead_ResolvesLetter(t *testing.T) {
	t.Parallel()
	a := newAhead(t)
	source := readFunc(func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for n := r.From + 1; n <= 20; n++ {
			item := dataflow.Item[int, int]{Value: n, Cursor: n, Resume: true}
			if n%10 == 5 {
				item.Key = "the same"
			}
			if !yield(item, nil) {
				return
			}
		}
	})
	a.first = func() error {
		time.Sleep(100 * time.Millisecond)
		return nil
	}
	a.opts.OnBadRecord = dataflow.DeadLetterUpTo(9)
	client := a.registered(dataflow.NewFlow("f", source, badNumbers(map[int]bool{5: true}), dataflow.ToTx(pipelined{a.write}), &a.opts))
	run, err := client.Trigger(t.Context(), "f", nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, run.Counters.DeadLettered)
	require.Empty(t, a.letters(client, &dataflow.DeadLetterListParams{Open: true}))
}
