package enginetest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// ledgerSeed is the environment variable that repeats a failed case.
const ledgerSeed = "LEDGER_SEED"

// fate is what is to happen to a record.
type fate int

const (
	fateWritten   fate = iota
	fateFiltered       // by the transform
	fateUnread         // it cannot be read
	fateFailed         // by the transform
	fateRefused        // by the database
	fateRedundant      // as the sink says
	fateUpdated        // as the sink says
	fates
)

// breakage is something that breaks an attempt, at a moment of the case.
type breakage int

const (
	breakError breakage = iota
	breakTransient
	breakPanic
	breakCancel
	breakAnswer // of the commit of what the sink writes
	breakages
)

// ledger is a random flow, and the expected outcome.
type ledger struct {
	seed     uint64
	name     string
	fates    []fate // of the records 1, 2 …
	outputs  []int  // of each
	spacing  int    // every so many records is a resume point
	marks    bool   // marks after the records
	tells    bool   // the sink reports the results of rows
	together bool   // a checkpoint is sent together with its commit, where the database can
	ahead    bool   // the sink can be written ahead
	keeps    bool   // the policy keeps dead letters
	options  *dataflow.FlowOptions

	mu       sync.Mutex // guards what follows
	moment   int
	breaking map[int]breakage // by the moment at which they come
	driver   *losesAnswer
	cancel   context.CancelFunc
	onBreak  []string // what broke, for the report
}

func newLedger(seed uint64) *ledger {
	r := rand.New(rand.NewPCG(seed, 0))
	l := &ledger{
		seed: seed, name: fmt.Sprintf("ledger_%d", seed), spacing: 1 + r.IntN(5), marks: r.IntN(3) == 0, tells: r.IntN(2) == 0, keeps: r.IntN(2) == 0,
		breaking: make(map[int]breakage),
	}
	strange := r.IntN(3) // how much of it is unusual
	for range r.IntN(80) {
		f := fateWritten
		if r.IntN(6) < 2*strange {
			f = fate(r.IntN(int(fates)))
		}
		if !l.tells && (f == fateRedundant || f == fateUpdated) {
			f = fateWritten
		}
		l.fates = append(l.fates, f)
		l.outputs = append(l.outputs, 1+r.IntN(3)*r.IntN(2))
	}
	for range r.IntN(5) {
		l.breaking[r.IntN(3*len(l.fates)+10)] = breakage(r.IntN(int(breakages)))
	}
	policy := dataflow.SkipUpTo(1000)
	if l.keeps {
		policy = dataflow.DeadLetterUpTo(1000)
	}
	l.options = &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{BatchSize: r.IntN(12)}, OnBadRecord: policy, MaxAttempts: 100, Backoff: func(int) time.Duration { return 0 },
	}
	l.together, l.ahead = r.IntN(4) > 0, r.IntN(2) == 0
	if r.IntN(3) == 0 {
		l.options.BatchWait = time.Duration(1+r.IntN(5)) * time.Millisecond
	}
	return l
}

// breaks returns the error of the breakage that is due now, if any.
func (l *ledger) breaks(where string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moment++
	f, ok := l.breaking[l.moment]
	if !ok {
		return nil
	}
	delete(l.breaking, l.moment)
	l.onBreak = append(l.onBreak, fmt.Sprintf("%d at moment %d, %s", f, l.moment, where))
	switch f {
	case breakTransient:
		return dataflow.Transient(errBroken)
	case breakPanic:
		panic("of the " + where)
	case breakCancel:
		l.cancel()
		return nil
	case breakAnswer:
		if where == "sink" {
			l.driver.away.Store(1)
			l.driver.commit.Store(1)
		}
		return nil
	default:
		return errBroken
	}
}

// of returns the fate of a record, and how many outputs it has.
func (l *ledger) of(n int) (fate, int) { return l.fates[n-1], l.outputs[n-1] }

func (l *ledger) Read(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
	for n := r.From + 1; n <= len(l.fates); n++ {
		last := n%l.spacing == 0 || n == len(l.fates)
		item := dataflow.Item[int, int]{Value: n, Key: strconv.Itoa(n), Cursor: n, Resume: last && !l.marks}
		err := cmp.Or(l.breaks("source"), ctx.Err())
		if f, _ := l.of(n); err == nil && f == fateUnread {
			err = &dataflow.RecordError{Key: item.Key, Err: errors.New("unread")}
		}
		if !yield(item, err) || last && l.marks && !yield(dataflow.Item[int, int]{Cursor: n, Mark: true}, nil) {
			return
		}
	}
}

func (l *ledger) Apply(_ context.Context, in []int, out *dataflow.Results[int]) error {
	if err := l.breaks("transform"); err != nil {
		return err
	}
	for i, n := range in {
		f, outputs := l.of(n)
		for k := range outputs {
			if f != fateFiltered {
				out.Emit(i, 10*n+k)
			}
		}
		if f == fateFailed {
			out.Fail(i, errors.New("failed"))
		}
	}
	return nil
}

// WriteTx writes the rows. The database refuses those that are to be refused.
func (l *ledger) WriteTx(ctx context.Context, rows []int) error {
	written := []int{}
	for _, row := range rows {
		switch f, outputs := l.of(row / 10); {
		case f == fateRedundant:
		case f == fateRefused && row%10 == outputs-1:
			written = append(written, -1)
		default:
			written = append(written, row)
		}
	}
	if err := insertInto(ctx, l.name, written); err != nil {
		return err
	}
	return l.breaks("sink")
}

func (l *ledger) Pipelined() bool { return l.ahead }

// tellingLedger is a ledger whose sink reports the results of rows.
type tellingLedger struct{ *ledger }

func (l tellingLedger) WriteResultTx(ctx context.Context, rows []int, results []dataflow.RowResult) error {
	for i, row := range rows {
		switch f, _ := l.of(row / 10); f {
		case fateRedundant:
			results[i] = dataflow.RowRedundant
		case fateUpdated:
			results[i] = dataflow.RowUpdated
		default:
		}
	}
	return l.WriteTx(ctx, rows)
}

func (l *ledger) flow() *dataflow.Flow {
	target := dataflow.ToTx[int](l)
	if l.tells {
		target = dataflow.ToTx[int](tellingLedger{l})
	}
	return dataflow.NewFlow(l.name, readFunc(l.Read), dataflow.Transform[int, int](l), target, l.options)
}

// want is the expected counters, and how many rows there must be.
func (l *ledger) want() (c dataflow.Counters, rows int64) {
	for n := range l.fates {
		f, outputs := l.of(n + 1)
		c.Read++
		switch f {
		case fateFiltered:
			c.Filtered++
			continue
		case fateRedundant:
			c.Redundant++
			continue
		case fateUnread, fateFailed, fateRefused:
			if l.keeps {
				c.DeadLettered++
			} else {
				c.Dropped++
			}
			continue
		case fateUpdated:
			c.Updated++
		default:
		}
		c.Written++
		rows += int64(outputs)
	}
	return c, rows
}

// work works a run to its end, through all breakages.
func (l *ledger) work(t *dbT, client *dataflow.Client) *dataflow.Run {
	t.Helper()
	run, err := client.Enqueue(t.Context(), l.name, nil)
	require.NoError(t, err)
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		l.mu.Lock()
		l.cancel = cancel
		l.mu.Unlock()
		_, err := dataflow.NewFlowExecutor(client).Execute(ctx, run.ID)
		cancel()
		run, _ = client.Run(t.Context(), run.ID)
		if run.State.Finished() {
			return run
		}
		require.Error(t, err)
	}
	require.Fail(t, "it does not end", "%s=%d repeats it; what broke: %v; the last error: %s", ledgerSeed, l.seed, l.onBreak, run.Error)
	return nil
}

// balanced makes the database refuse counters that do not add up, at any moment.
func (t *dbT) balanced() {
	t.Helper()
	for _, table := range []string{"dataflow_run", "dataflow_checkpoint"} {
		const sum = "read = %[1]swritten + %[1]sredundant + %[1]sfiltered + %[1]sdropped + %[1]sdead_lettered and %[1]supdated <= %[1]swritten"
		if t.isPostgres {
			require.NoError(t, t.exec("alter table "+table+" add constraint ledger check ("+fmt.Sprintf(sum, "")+")"))
			continue
		}
		require.NoError(t, t.exec(fmt.Sprintf("create trigger ledger_%[1]s before update on %[1]s when not (new.%[2]s) begin select raise(abort, 'ledger'); end", table, fmt.Sprintf(sum, "new."))))
	}
}

// Whatever a flow consists of, and whatever breaks its attempts, each record that was
// read is in one of the counters at each checkpoint. In the end each has met its fate
// once.
func TestCounters_AnyFlow(t *testing.T) {
	t.Parallel()
	first, cases := rand.Uint64()>>1, 40
	if seed := os.Getenv(ledgerSeed); seed != "" {
		var err error
		first, err = strconv.ParseUint(seed, 10, 64)
		require.NoError(t, err)
		cases = 1
	}
	onBoth(t, func(t *dbT) {
		t.balanced()
		for i := range cases {
			l := newLedger(first + uint64(i))
			require.NoError(t, t.exec("create table "+l.name+" (n integer check (n > 0))"))
			l.driver = &losesAnswer{Driver: t.driver, together: l.together}
			client, err := dataflow.NewClient(l.driver, &dataflow.Config{Flows: []*dataflow.Flow{l.flow()}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Register(t.Context()))
			run := l.work(t, client)
			counters, rows := l.want()
			again := fmt.Sprintf("%s=%d go test -run TestCounters_AnyFlow repeats it; what broke: %v", ledgerSeed, l.seed, l.onBreak)
			require.Equal(t, dataflow.RunSuccess, run.State, "%s: %s", again, run.Error)
			require.Equal(t, counters, run.Counters, again)
			require.Equal(t, []int64{rows, rows}, []int64{t.number("select count(*) from " + l.name), t.number("select count(distinct n) from " + l.name)}, again)
			require.Equal(t, counters.DeadLettered, t.number(fmt.Sprintf("select count(distinct key) from dataflow_dead_letter where run_id = %d", run.ID)), again)
			require.Equal(t, counters.DeadLettered, t.number(fmt.Sprintf("select count(*) from dataflow_dead_letter where run_id = %d", run.ID)), again)
			require.Equal(t, counters.Read, t.number(fmt.Sprintf("select coalesce(sum(read), 0) from dataflow_checkpoint where flow_id = %d", run.FlowID)), again)
		}
	})
}
