package dataflow

import (
	"context"
	"errors"
	"iter"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
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
	maker := &batchMaker{transforming: make(chan struct{}, 1), p: p, a: a, read: batch.Start(tb.Context(), func(ctx context.Context, hand func(*readBatch) bool) error {
		return reader.read(ctx, ctx, hand)
	}), free: make(chan *madeBatch, 2)}
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

// A batch also ends when its bad records take too much memory, unless the user has set the
// batch size.
func TestBatchReader_HeavyBad(t *testing.T) {
	t.Parallel()
	const kept, records = 64 << 10, 300
	source := badRecords{n: records, raw: make([]byte, kept)}
	for _, wait := range []time.Duration{0, time.Hour} {
		for set, want := range map[int]int{0: batch.MaxWeight/kept + 1, 200: 200} {
			r := newReader[int, int](source, batch.NewSize(set, DefaultBatchSize))
			r.wait = wait
			var sizes []int
			require.NoError(t, r.read(t.Context(), t.Context(), func(b *readBatch) bool {
				sizes = append(sizes, b.size())
				r.recycle(b)
				return true
			}))
			require.Equal(t, want, sizes[0])
			sum := 0
			for _, size := range sizes {
				sum += size
			}
			require.Equal(t, records, sum)
		}
	}
}

// newReader returns a reader of all that a source has.
func newReader[T, C any](source Source[T, C], size *batch.Size) *batchReader {
	return newFlowCode(source, nil, Target[T]{}).newReader(size, &Request[C]{})
}

// While heavy batches wait to be written, no more is read than one of them.
func TestBatchReader_Load(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			read := 0
			r := newReader(heavyRecords(&read, 50, 1<<20), batch.NewSize(0, DefaultBatchSize))
			r.wait = wait
			handed := make(chan *readBatch, 50)
			done := make(chan error, 1)
			go func() {
				done <- r.read(t.Context(), t.Context(), func(b *readBatch) bool {
					handed <- b
					return true
				})
			}()
			synctest.Wait()
			inMemory := (batch.MaxLoad + batch.MaxWeight) >> 20
			require.Positive(t, read)
			require.LessOrEqual(t, read, inMemory)
			for written := 0; written < 50; {
				b := <-handed
				written += b.count
				r.recycle(b)
				synctest.Wait()
				require.LessOrEqual(t, read-written, inMemory)
			}
			require.NoError(t, <-done)
			require.Equal(t, 50, read)
		})
	}
}

// heavyRecords yields n records of so many bytes, and counts them.
func heavyRecords(read *int, n, bytes int) Source[[]byte, int] {
	return Paged(func(_ context.Context, from int) (Page[[]byte, int], error) {
		*read++
		return Page[[]byte, int]{Rows: [][]byte{make([]byte, bytes)}, Next: from + 1, More: from+1 < n}, nil
	})
}

// badRecords yields n bad records, each with the same raw text.
type badRecords struct {
	n   int
	raw []byte
}

func (b badRecords) Read(context.Context, Request[int]) iter.Seq2[Item[int, int], error] {
	return func(yield func(Item[int, int], error) bool) {
		for i := range b.n {
			if !yield(Item[int, int]{Cursor: i + 1, Resume: true}, &RecordError{Raw: b.raw, Err: ErrNotFound}) {
				return
			}
		}
	}
}

// A batch that has waited long enough and could not end does so at the next resume
// point, though it is not full. What came after the last resume point begins the next batch.
func TestWaitingBatch_Due(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		items := make(chan Item[int, int])
		r := newReader[int, int](yielded(items), batch.NewSize(100, 0))
		r.wait = time.Hour
		handed := [][]int{}
		done := make(chan error, 1)
		go func() {
			done <- r.read(t.Context(), t.Context(), func(b *readBatch) bool {
				handed = append(handed, slices.Clone(rowsOf[int](b.rows)))
				return true
			})
		}()
		take := func(n int, resume bool) {
			items <- Item[int, int]{Value: n, Cursor: n, Resume: resume}
			synctest.Wait()
		}
		take(1, false)
		time.Sleep(2 * time.Hour) // of the bubble's clock
		take(2, false)
		require.Empty(t, handed)
		take(3, true)
		require.Equal(t, [][]int{{1, 2, 3}}, handed)
		take(4, true)
		require.Len(t, handed, 1, "the next one waits for itself")
		take(5, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, [][]int{{1, 2, 3}, {4}}, handed)
		take(6, true)
		require.Len(t, handed, 2)
		close(items)
		require.NoError(t, <-done)
		require.Equal(t, [][]int{{1, 2, 3}, {4}, {5, 6}}, handed)
	})
}

// A batch that waits ends when nobody wants more, though the source blocks.
func TestWaitingBatch_NoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		items := make(chan Item[int, int])
		r := newReader[int, int](yielded(items), batch.NewSize(100, 0))
		r.wait = time.Hour
		done := make(chan error, 1)
		go func() { done <- r.read(t.Context(), t.Context(), func(*readBatch) bool { return false }) }()
		items <- Item[int, int]{Value: 1, Cursor: 1, Resume: true}
		require.NoError(t, <-done)
	})
}

// yielded yields what comes, until the channel is closed.
type yielded chan Item[int, int]

func (y yielded) Read(ctx context.Context, _ Request[int]) iter.Seq2[Item[int, int], error] {
	return func(yield func(Item[int, int], error) bool) {
		for {
			select {
			case i, ok := <-y:
				if !ok || !yield(i, nil) {
					return
				}
			case <-ctx.Done():
				yield(Item[int, int]{}, ctx.Err())
				return
			}
		}
	}
}

// In a run that may be poison, nothing is read after the first batch before that batch
// is written.
func TestBatchReader_First(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			turnstile := batch.NewTurnstile(1)
			r := newReader[plainRecord, int](plainRecords(5), batch.NewSize(2, 0))
			r.wait, r.turnstile = wait, turnstile
			var sizes []int
			done := make(chan error, 1)
			go func() {
				done <- r.read(t.Context(), t.Context(), func(b *readBatch) bool {
					sizes = append(sizes, b.size())
					return true
				})
			}()
			synctest.Wait()
			require.Equal(t, []int{2}, sizes)
			turnstile.Pass()
			require.NoError(t, <-done)
			require.Equal(t, []int{2, 2, 1}, sizes)
		})
	}
}

// TestAttempt_VerdictTimedOut has a River job whose time ends in the middle of a batch. Its
// error names what was slow: the source, if that has said nothing, and else the batch.
func TestAttempt_VerdictTimedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		heard, away bool
		transform   bool // it works
		want        string
	}{
		"silent source":  {want: `the job's time ended, 1m0s and the 1m0s after it, while the source \(custom\) had said nothing since 20.*: its server or the network may be silent; FlowOptions.ReadTimeout`},
		"slow batch":     {heard: true, want: `a batch did not end within 1m0s .*: use a smaller BatchSize`},
		"slow sink":      {away: true, want: `a batch did not end within 1m0s .*: use a smaller BatchSize`},
		"slow transform": {transform: true, want: `a batch did not end within 1m0s .*: the transform \(custom\) had worked on it since 20.*: use a smaller BatchSize`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now())
			defer cancel()
			watch := &readWatch{epoch: time.Now().Add(-time.Minute)}
			if c.heard {
				watch.note()
			}
			watch.away.Store(c.away)
			watches := partWatches{source: watch, transform: &busyWatch{name: "transform", part: "custom", epoch: watch.epoch}, sink: newBusyWatch("sink", "custom")}
			if c.transform {
				watches.transform.since.Store(1)
				watches.transform.end(ctx)
			}
			a := &attempt{
				base: base{config: &Config{Slice: time.Minute}, store: noFault{}}, watches: watches, run: &Run{Attempt: 1, MaxAttempts: 5},
				flow: NewFlow("f", badRecords{}, Identity[int](), Target[int]{}, nil),
			}
			a.slice.timer = time.NewTimer(time.Hour)
			defer a.slice.timer.Stop()
			p, kind := a.verdict(ctx, ctx.Err())
			require.Equal(t, EventRunRetrying, kind)
			require.Regexp(t, c.want, p.Error.Error)
		})
	}
}

// noFault is a store that knows no errors of a database.
type noFault struct{ Store }

func (noFault) Classify(error) Fault { return FaultOther }

// A range in progress may have read all that its source has counted. The backfill has not ended.
func TestBackfillProgress_AllRead(t *testing.T) {
	t.Parallel()
	total, at := int64(10), time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	ended := at.Add(time.Minute)
	runs := []*Run{
		{ID: 2, Scope: "1/2", State: RunInProgress, StartedAt: &at, Total: &total, Counters: Counters{Read: 10}},
		{ID: 1, Scope: "1", State: RunSuccess, StartedAt: &at, EndedAt: &ended, Total: &total, Counters: Counters{Read: 10}},
	}
	p := backfillProgress(runs, at.Add(time.Hour))
	require.Equal(t, 1, p.InProgress)
	require.Nil(t, p.EndedAt)
	require.NotNil(t, p.Left)
	require.Zero(t, *p.Left)

	runs[0].State, runs[0].EndedAt = RunSuccess, &ended
	p = backfillProgress(runs, at.Add(time.Hour))
	require.Equal(t, &ended, p.EndedAt)
	require.Nil(t, p.Left)
}

// A second stage gives the same results whether or not something was emitted before.
func TestResults_Through(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	origin := []int{0, 0, 2, 5} // the first input has two outputs
	var failed Results[string]
	require.Equal(t, boom, through(&failed, origin, false, func(*Results[string]) error { return boom }))
	apply := func(out *Results[string]) {
		out.Emit(0, "a")
		out.Emit(1, "b")
		out.Fail(2, boom)
		out.Emit(3, "c")
		out.Emit(3, "d")
	}
	for name, before := range map[string]int{"Empty": 0, "Filled": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out Results[string]
			for range before {
				out.Emit(7, "before")
			}
			require.NoError(t, through(&out, origin, false, func(out *Results[string]) error { apply(out); return nil }))
			require.Equal(t, []string{"a", "b", "c", "d"}, out.rows[before:])
			require.Equal(t, []int{0, 0, 5, 5}, out.origin[before:])
			require.Equal(t, map[int]error{2: boom}, out.failed)
			n, err := out.inputs(8)
			require.NoError(t, err)
			require.EqualValues(t, 2+before, n)
		})
	}
}

// Counting outputs as they come gives the same as counting them afterwards.
func TestResults_Inputs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		origin []int
		want   int64
		bad    bool
	}{
		"none":       {nil, 0, false},
		"ordered":    {[]int{0, 0, 1, 4}, 3, false},
		"unordered":  {[]int{4, 1, 1, 0}, 3, false},
		"apart":      {[]int{1, 0, 1}, 0, true},
		"negative":   {[]int{-1}, 0, true},
		"too great":  {[]int{0, 5}, 0, true},
		"from first": {[]int{4, 4}, 1, false},
	} {
		var r Results[int]
		for _, i := range tc.origin {
			r.Emit(i, i)
		}
		got, err := r.inputs(5)
		require.Equal(t, tc.bad, err != nil, name)
		require.Equal(t, tc.want, got, name)
		r.unordered = true
		again, err := r.inputs(5)
		require.Equal(t, tc.bad, err != nil, name)
		require.Equal(t, got, again, name)
	}
}

// What would take longer than a Duration can be is not said to be left for a negative time.
func TestProgress_TooLong(t *testing.T) {
	t.Parallel()
	total, at := int64(1e9), time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	slow := &Run{ID: 1, Scope: "1", State: RunInProgress, StartedAt: &at, Total: &total, Counters: Counters{Read: 1}}
	p := progressOf(slow, at.Add(time.Minute))
	require.Equal(t, time.Duration(math.MaxInt64), *p.Left)
	b := backfillProgress([]*Run{slow}, at.Add(time.Minute))
	require.Equal(t, time.Duration(math.MaxInt64), *b.Left)

	w := &why{now: at}
	require.Equal(t, "9999-12-31T00:00:00Z", w.at(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)))
	require.Equal(t, "0001-01-01T00:00:00Z", w.at(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Equal(t, "2026-11-28T09:31:00Z (in 1m0s)", w.at(at.Add(time.Minute)))
}

// The keys of open dead letters alone tell whether a record may have one, unless a key was stored with escapes.
func TestOpenLetters(t *testing.T) {
	t.Parallel()
	var made int
	of := func(key string) string {
		made++
		return hashed(key, []byte(`{"shop":1}`))
	}
	var o openLetters
	for _, l := range []DeadLetterIdentity{
		{of("a"), "a"}, {hashed("b", []byte(`{"shop":2}`)), "b"}, {hashed(of("row 3"), []byte(`{}`)), "row 3"},
	} {
		o.add(l, of)
	}
	made = 0
	require.True(t, o.has("a", of))
	require.False(t, o.has("b", of) || o.has("row 3", of) || o.has("é", of))
	require.Zero(t, made)
	o.add(DeadLetterIdentity{of("é"), `\u00e9`}, of)
	require.True(t, o.has("é", of))
	require.False(t, o.has("b", of))
	o.many = true
	require.True(t, o.has("b", of))
}
