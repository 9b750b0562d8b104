package dataflow

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

type plainRecord struct {
	ID     int64
	Amount float64
}

// plainRecords yields so many records.
type plainRecords int

func (n plainRecords) Read(context.Context, Request[int]) iter.Seq2[Item[plainRecord, int], error] {
	return func(yield func(Item[plainRecord, int], error) bool) {
		for i := range int(n) {
			if !yield(Item[plainRecord, int]{Value: plainRecord{ID: int64(i), Amount: 1}, Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// recordLoop is what the engine does for n records, without a database: it reads,
// maps, filters and counts them. It returns how many are left.
func recordLoop(tb testing.TB, n, size int) (left int64) {
	tb.Helper()
	p := newFlowCode[plainRecord, int, plainRecord](
		plainRecords(n),
		Pipe(
			Map(func(_ context.Context, r plainRecord) (plainRecord, error) { r.Amount *= 1.1; return r, nil }),
			Filter(func(r plainRecord) bool { return r.ID%10 != 0 }),
		),
		Target[plainRecord]{},
	)
	a := &attempt{gate: newGate()}
	a.slice.turns = batch.NewTurns(a.slice.isOver)
	reader := p.newReader(batch.NewSize(size, 0), &Request[int]{})
	maker := &batchMaker{p: p, a: a, read: batch.Start(tb.Context(), reader.read), free: make(chan *madeBatch, 2)}
	made := batch.Start(tb.Context(), maker.make)
	w := &batchWriter{p: p, a: a}
	for {
		b, ok, err := made.Next(tb.Context(), nil)
		require.NoError(tb, err)
		if !ok {
			return left
		}
		w.batch, w.out, w.rows = b.readBatch, b.out, b.rows
		delta, err := w.account(tb.Context())
		require.NoError(tb, err)
		left += delta.Written
		read := b.readBatch
		maker.recycle(b)
		reader.recycle(read)
	}
}

// BenchmarkRecordLoop is the engine's own cost of a record: cpu-ns/op counts what both
// goroutines use.
func BenchmarkRecordLoop(b *testing.B) {
	b.ReportAllocs()
	before := cpuTime()
	require.EqualValues(b, b.N-(b.N+9)/10, recordLoop(b, b.N, 10_000))
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The engine makes batches and uses them again. Allocations are counted for the whole
// process, and so in one of its own.
func TestRecordLoop_NoAllocations(t *testing.T) {
	t.Parallel()
	const n = 500_000
	if os.Getenv("DATAFLOW_TEST_COUNT_ALLOCATIONS") != "" {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.EqualValues(t, n-n/10, recordLoop(t, n, 1000))
		runtime.ReadMemStats(&after)
		t.Logf("allocations: %d", after.Mallocs-before.Mallocs)
		require.Less(t, after.Mallocs-before.Mallocs, uint64(n/1000*2), "more than two a batch")
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$", "-test.timeout="+strconv.Itoa(60)+"s")
	cmd.Env = append(os.Environ(), "DATAFLOW_TEST_COUNT_ALLOCATIONS=1")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "allocations: ")
	t.Logf("%s", said)
}
