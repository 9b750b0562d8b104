package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

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

// execute works a flow once.
func (w *work) execute(ctx context.Context, f *dataflow.Flow) error {
	_, err := executeOn(ctx, dataflowpgx.New(w.pool), f)
	return err
}

// executeOn works a flow once. The time includes creating and registering a client.
func executeOn(ctx context.Context, driver dataflow.Driver, f *dataflow.Flow) (*dataflow.Run, error) {
	return executeObserved(ctx, driver, f, nil)
}

// executeObserved is executeOn with an observer; nil: none.
func executeObserved(ctx context.Context, driver dataflow.Driver, f *dataflow.Flow, observer dataflow.Observer) (*dataflow.Run, error) {
	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: []*dataflow.Flow{f}, Logger: slog.New(slog.DiscardHandler), Observer: observer})
	if err != nil {
		return nil, err
	}
	if err := client.Register(ctx); err != nil {
		return nil, err
	}
	bound, err := client.Flow(ctx, f.Name)
	if err != nil {
		return nil, err
	}
	run, err := bound.Runtime.Execute(ctx, bound)
	if err == nil && run.State != dataflow.RunSuccess {
		err = fmt.Errorf("run %d is %s", run.ID, run.State)
	}
	return run, err
}

// fillAgain puts all rows into the target, as the work would write them.
func (w *work) fillAgain(ctx context.Context) error {
	if err := w.exec(ctx, "truncate dst"); err != nil {
		return err
	}
	if err := flow(w, "upsert", w.keyset, upsert, dataflow.Heartbeat{})(ctx); err != nil {
		return err
	}
	return w.exec(ctx, "vacuum (freeze, analyze) dst", "checkpoint")
}

// again works a flow whose rows are already in the target.
func (w *work) again(ctx context.Context) error {
	w.run++
	f := dataflow.NewFlow(fmt.Sprintf("again %d", w.run), w.keyset(), transform(), upsert(), nil)
	run, err := executeOn(ctx, dataflowpgx.New(w.pool), f)
	if err == nil && run.Counters.Redundant != int64(w.rows) {
		err = fmt.Errorf("of %d rows, %d were redundant", w.rows, run.Counters.Redundant)
	}
	return err
}

// withoutCheckpoints works a flow that writes its batches but no checkpoints.
func (w *work) withoutCheckpoints(size int) func(context.Context) error {
	return func(ctx context.Context) error {
		w.run++
		f := dataflow.NewFlow(fmt.Sprintf("no checkpoints %d", w.run), w.keyset(), transform(), insert(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: size}})
		_, err := executeOn(ctx, noCheckpoints{dataflowpgx.New(w.pool)}, f)
		return err
	}
}

// noCheckpoints is a driver that only pretends to write checkpoints.
type noCheckpoints struct{ dataflow.Driver }

type noCheckpointStore struct{ dataflow.Store }

func (d noCheckpoints) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return noCheckpointStore{s}, err
}

// BeginCheckpoint begins a transaction that is committed as any other is.
func (s noCheckpointStore) BeginCheckpoint(ctx context.Context) (context.Context, dataflow.CheckpointTx, error) {
	together, ok := s.Store.(dataflow.CheckpointCommitter)
	if !ok {
		return ctx, nil, fmt.Errorf("%T commits otherwise", s.Store)
	}
	ctx, tx, err := together.BeginCheckpoint(ctx)
	return ctx, noCheckpointTx{tx}, err
}

type noCheckpointTx struct{ dataflow.CheckpointTx }

// Commit sends the commit at once, as a checkpoint does.
func (t noCheckpointTx) Commit(ctx context.Context, p *dataflow.RunCheckpointParams) func() (dataflow.LeaseStatus, error) {
	tx, ok := t.Unwrap().(pgx.Tx)
	if !ok {
		return func() (dataflow.LeaseStatus, error) {
			return dataflow.LeaseStatus{}, t.Rollback(ctx, dataflow.ErrTxMismatch)
		}
	}
	var b pgx.Batch
	b.Queue("commit work")
	results := tx.SendBatch(ctx, &b)
	return func() (dataflow.LeaseStatus, error) {
		err := results.Close()
		done, cancel := context.WithCancel(ctx)
		cancel()
		_ = tx.Commit(done) // returns the connection and sends nothing
		return dataflow.LeaseStatus{RunID: p.RunID, Held: true}, err
	}
}

// The database refuses one of badEvery records.
const badEvery = 10_000

// isBad reports whether the database refuses a record. The bad record is at another
// place in each ten thousand, because batches have that size.
func isBad(r row) bool {
	i := r.ID - 1
	return i%badEvery == (i/badEvery*3711+1234)%badEvery
}

// withBad works a flow of which the database refuses some records. These become
// dead letters.
func (w *work) withBad(ctx context.Context) error {
	w.run++
	bad := dataflow.Map(func(_ context.Context, r row) (row, error) {
		if r = change(r); isBad(r) {
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
