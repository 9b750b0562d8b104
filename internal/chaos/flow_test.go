//go:build unix && chaos

package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// flowSettings are the settings of a flow that appends the numbers after its cursor to the
// target.
type flowSettings struct {
	Name  string
	Queue bool  // JobQueue, else Heartbeat
	Batch int   // records between two checkpoints
	Chunk int64 // each run reads up to the next multiple of Chunk
	Limit int64 // if set, no run reads beyond Limit
	// Pace is how long a batch takes outside of its transaction, Hold inside of it.
	Pace, Hold time.Duration
	// MaxBackfills is the setting of the flow.
	MaxBackfills int
	// FirstLoad is the setting of the flow: in how many ranges it begins.
	FirstLoad int
	// Poison is the number that ends the process: a poison message.
	Poison int64
	// Rival makes each batch update rows that another writer updates too.
	Rival rival
	// Elsewhere puts the target in the second database.
	Elsewhere bool
	// After is the flow that this one runs after.
	After string
	// Follow copies the rows of the table chaos_row, instead of the numbers.
	Follow follow
	// Versions copies the newest versions of the rows of the table chaos_version, instead of the numbers.
	Versions bool
}

// place is where flows find their databases.
type place struct {
	kind      kind
	orders    *orders
	pool      *pgxpool.Pool // nil on SQLite
	elsewhere *pgxpool.Pool // nil if there is no second database
}

// poisonExit is the exit code of a worker that has met a flow's Poison.
const poisonExit = 3

func (s *flowSettings) flow(p place) *dataflow.Flow {
	opts := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: s.Batch}, MaxBackfills: s.MaxBackfills, FirstLoad: s.FirstLoad, After: dataflow.After{Flow: s.After}}
	if s.Queue {
		opts.Runtime = dataflow.JobQueue{BatchSize: s.Batch}
	}
	if s.Rival != noRival { // A batch may by chance conflict several times, and the default backoff grows to minutes.
		opts.MaxAttempts, opts.Backoff = 20, func(int) time.Duration { return time.Second }
	}
	source := numbers{chunk: s.Chunk, limit: s.Limit}
	switch {
	case s.Versions:
		return dataflow.NewFlow(s.Name, versions(p.pool, s.Batch), s.versions(p.orders), s.copy(p.elsewhere), opts)
	case s.Elsewhere:
		return dataflow.NewFlow(s.Name, source, dataflow.Pipe(s.transform(p.orders), s.records()), pgtable.InsertTo[record](p.elsewhere, "chaos_target"), opts)
	case s.Follow != noFollow:
		return dataflow.NewFlow(s.Name, s.Follow.source(p.pool, s.Batch), dataflow.Pipe(s.Follow.numbers(), dataflow.Pipe(s.transform(p.orders), s.records())), pgtable.Insert[record]("chaos_target"), opts)
	default:
		return dataflow.NewFlow(s.Name, source, s.transform(p.orders), dataflow.ToTx(appender{kind: p.kind, settings: s, orders: p.orders}), opts)
	}
}

// record is a row of the target.
type record struct {
	Flow string
	N    int64
}

func (s *flowSettings) records() dataflow.Transform[int64, record] {
	return dataflow.Map(func(_ context.Context, n int64) (record, error) { return record{Flow: s.Name, N: n}, nil })
}

// numbers is the source. How far a run reads depends only on its cursor. So a run that another
// worker takes over reads the same numbers. If there are limit/chunk runs of a flow, they read
// exactly the numbers up to the limit. A backfill ignores chunk and limit: it reads up to its
// Until.
type numbers struct{ chunk, limit int64 }

func (s numbers) Read(ctx context.Context, r dataflow.Request[int64]) iter.Seq2[dataflow.Item[int64, int64], error] {
	return func(yield func(dataflow.Item[int64, int64], error) bool) {
		end := (r.From/s.chunk + 1) * s.chunk
		if s.limit > 0 {
			end = min(end, s.limit)
		}
		if r.Bounded {
			end = r.Until
		}
		for n := r.From + 1; n <= end && ctx.Err() == nil; n++ {
			if !yield(dataflow.Item[int64, int64]{Value: n, Cursor: n, Resume: true}, nil) {
				return
			}
		}
	}
}

func (numbers) CheckRequest(dataflow.Request[int64]) error { return nil }

func (s numbers) SeekEnd(context.Context, dataflow.Request[int64]) (int64, bool, error) {
	return s.limit, s.limit > 0, nil
}

func (numbers) Split(_ context.Context, r dataflow.Request[int64], n int) ([]int64, error) {
	var cuts []int64
	for i := 1; i < n; i++ {
		cuts = append(cuts, r.From+(r.Until-r.From)*int64(i)/int64(n))
	}
	return cuts, nil
}

func (s *flowSettings) transform(o *orders) dataflow.Transform[int64, int64] {
	return dataflow.Batch(func(ctx context.Context, in []int64) ([]int64, error) {
		for _, n := range in {
			if n == s.Poison {
				os.Exit(poisonExit)
			}
		}
		return paced(ctx, s, o, in)
	})
}

// paced hands a batch on, after the time that one takes.
func paced[T any](ctx context.Context, s *flowSettings, o *orders, in []T) ([]T, error) {
	if !pause(ctx, s.Pace) {
		return nil, ctx.Err()
	}
	o.reach("transform/after")
	return in, nil
}

// appender is the sink: a table without a unique key, which accepts duplicates.
type appender struct {
	kind     kind
	settings *flowSettings
	orders   *orders
}

// AppendOnly allows a first load, which would have a row twice that changes meanwhile: none does.
func (a appender) AppendOnly() bool { return a.settings.FirstLoad == 0 }

// writesAhead turns write-ahead on in every other worker: it writes a batch while the one before
// commits.
var writesAhead = os.Getpid()%2 == 0

func (appender) Pipelined() bool { return writesAhead }

func (a appender) WriteTx(ctx context.Context, rows []int64) error {
	a.orders.reach("write/before")
	exec := execTx(ctx)
	if exec == nil {
		return dataflow.Permanent(errors.New("there is no transaction"))
	}
	if err := a.settings.Rival.begin(exec); err != nil {
		return err
	}
	list, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	statement := `insert into chaos_target (flow, n) select ?, value from json_each(?)`
	if a.kind == onPostgres {
		statement = `insert into chaos_target (flow, n) select $1, value::bigint from json_array_elements_text($2::json)`
	}
	if err := exec(statement, a.settings.Name, string(list)); err != nil {
		return err
	}
	if err := a.settings.Rival.meet(ctx, exec, a.settings.Hold); err != nil {
		return err
	}
	a.orders.reach("write/after")
	return nil
}

// execTx returns a function that runs a statement in the checkpoint's transaction.
func execTx(ctx context.Context) func(statement string, args ...any) error {
	if tx, ok := dataflowpgx.TxFrom(ctx); ok {
		return func(statement string, args ...any) error {
			_, err := tx.Exec(ctx, statement, args...)
			return err
		}
	}
	if tx, ok := dataflowsqlite.TxFrom(ctx); ok {
		return func(statement string, args ...any) error {
			_, err := tx.ExecContext(ctx, statement, args...)
			return err
		}
	}
	return nil
}
