package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// outcome is what a flow made of the numbers 1 to n, in one batch.
type outcome struct {
	run  *dataflow.Run
	err  error
	rows []string
	keys []string
	bad  []string // as told to the policy
}

// transformed runs a flow that drops bad records.
func (t *dbT) transformed(n int, transform dataflow.Transform[int, string]) (out outcome) {
	t.Helper()
	sink := dataflow.SinkFunc[string](func(_ context.Context, b dataflow.SinkBatch[string]) error {
		out.rows = append(out.rows, b.Rows...)
		out.keys = append(out.keys, b.Keys...)
		return nil
	})
	client := t.registered(dataflow.NewFlow(t.Name(), numbers{n: n}, transform, dataflow.To(sink), &dataflow.FlowOptions{
		OnBadRecord: func(e *dataflow.RecordError, _ int64) dataflow.Action {
			out.bad = append(out.bad, fmt.Sprintf("%s %s(%s): %v", e.Stage, e.Key, e.Raw, e.Err))
			return dataflow.Drop
		},
	}))
	out.run, out.err = t.execute(client, t.Name())
	return out
}

// text writes a number as text. It fails 3s, and skips 4s.
func text(_ context.Context, n int) (string, error) {
	switch n % 10 {
	case 3:
		return "", errBroken
	case 4:
		return "", fmt.Errorf("not today: %w", dataflow.Skip)
	}
	return strconv.Itoa(n), nil
}

// repeat writes n as many times as n says.
func repeat(_ context.Context, n int) ([]string, error) {
	if n == 5 {
		return nil, dataflow.Skip
	}
	return strings.Fields(strings.Repeat(strconv.Itoa(n)+" ", n%3)), nil
}

func upper(_ context.Context, in []string) ([]string, error) {
	out := make([]string, len(in))
	for i := range in {
		out[i] = "<" + in[i] + ">"
	}
	return out, nil
}

// scripted emits and fails as a test says.
type scripted func(in []int, out *dataflow.Results[string])

func (s scripted) Apply(_ context.Context, in []int, out *dataflow.Results[string]) error {
	s(in, out)
	return nil
}

func TestTransform(t *testing.T) {
	t.Parallel()
	odd := dataflow.Filter(func(n int) bool { return n%2 == 1 })
	const bad3, bad13 = "transform 3(3): out of paper", "transform 13(13): out of paper"
	for name, c := range map[string]struct {
		n               int
		transform       dataflow.Transform[int, string]
		rows, keys, bad string // separated by spaces, the last by bars
		want            dataflow.Counters
	}{
		"Map":          {5, dataflow.Map(text), "1 2 5", "1 2 5", bad3, dataflow.Counters{Read: 5, Written: 3, Filtered: 1, Dropped: 1}},
		"Filter":       {5, dataflow.Pipe(odd, dataflow.Map(text)), "1 5", "1 5", bad3, dataflow.Counters{Read: 5, Written: 2, Filtered: 2, Dropped: 1}},
		"FlatMap":      {5, dataflow.FlatMap(repeat), "1 2 2 4", "1 2 2/2 4", "", dataflow.Counters{Read: 5, Written: 3, Filtered: 2}},
		"Batch":        {5, dataflow.Pipe(dataflow.Map(text), dataflow.Batch(upper)), "<1> <2> <5>", "1 2 5", bad3, dataflow.Counters{Read: 5, Written: 3, Filtered: 1, Dropped: 1}},
		"Identity":     {3, dataflow.Pipe(dataflow.Identity[int](), dataflow.FlatMap(repeat)), "1 2 2", "1 2 2/2", "", dataflow.Counters{Read: 3, Written: 2, Filtered: 1}},
		"NothingLeft":  {3, dataflow.Pipe(dataflow.Filter(func(int) bool { return false }), mustHaveRows()), "", "", "", dataflow.Counters{Read: 3, Filtered: 3}},
		"FailLate":     {3, dataflow.Pipe(dataflow.FlatMap(twice), dataflow.Map(failSecond(3))), "1 1 2 2", "1 1/2 2 2/2", bad3, dataflow.Counters{Read: 3, Written: 2, Dropped: 1}},
		"Parallel":     {14, dataflow.Parallel(4, dataflow.Map(text)), "1 2 5 6 7 8 9 10 11 12", "1 2 5 6 7 8 9 10 11 12", bad3 + "|" + bad13, dataflow.Counters{Read: 14, Written: 10, Filtered: 2, Dropped: 2}},
		"ParallelMany": {2, dataflow.Parallel(100, dataflow.FlatMap(repeat)), "1 2 2", "1 2 2/2", "", dataflow.Counters{Read: 2, Written: 2}},
		"ParallelNone": {3, dataflow.Parallel(-1, dataflow.Map(text)), "1 2", "1 2", bad3, dataflow.Counters{Read: 3, Written: 2, Dropped: 1}},
		"ParallelPipe": {14, dataflow.Parallel(3, dataflow.Pipe(odd, dataflow.Map(text))), "1 5 7 9 11", "1 5 7 9 11", bad3 + "|" + bad13, dataflow.Counters{Read: 14, Written: 5, Filtered: 7, Dropped: 2}},
		"Reordered": {3, scripted(func(_ []int, out *dataflow.Results[string]) {
			out.Emit(2, "c")
			out.Emit(0, "a")
			out.Emit(0, "b")
		}), "c a b", "3 1 1/2", "", dataflow.Counters{Read: 3, Written: 2, Filtered: 1}},
		"FailAfterEmit": {3, scripted(func(_ []int, out *dataflow.Results[string]) {
			out.Emit(0, "a")
			out.Emit(1, "b")
			out.Fail(0, errBroken)
			out.Fail(0, errors.New("again"))
		}), "b", "2", "transform 1(1): out of paper", dataflow.Counters{Read: 3, Written: 1, Filtered: 1, Dropped: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := sqlite(t, migratedFile(t)).transformed(c.n, c.transform)
			require.NoError(t, out.err)
			require.Equal(t, strings.Fields(c.rows), append([]string{}, out.rows...))
			require.Equal(t, strings.Fields(c.keys), append([]string{}, out.keys...))
			require.Equal(t, c.bad, strings.Join(out.bad, "|"))
			require.Equal(t, c.want, out.run.Counters)
		})
	}
}

func twice(_ context.Context, n int) ([]int, error) { return []int{n, n}, nil }

// failSecond fails a number when it comes a second time.
func failSecond(n int) func(context.Context, int) (string, error) {
	seen := 0
	return func(_ context.Context, v int) (string, error) {
		if v == n {
			seen++
		}
		if seen == 2 {
			return "", errBroken
		}
		return strconv.Itoa(v), nil
	}
}

func mustHaveRows() dataflow.Transform[int, string] {
	return dataflow.Batch(func(_ context.Context, in []int) ([]string, error) {
		return []string{strconv.Itoa(in[0])}, nil
	})
}

// A transform that breaks the rules ends the attempt, with an error that says how.
func TestTransform_Errors(t *testing.T) {
	t.Parallel()
	emits := func(origins ...int) dataflow.Transform[int, string] {
		return scripted(func(_ []int, out *dataflow.Results[string]) {
			for _, i := range origins {
				out.Emit(i, "x")
			}
		})
	}
	fails := func(i int, err error) dataflow.Transform[int, string] {
		return scripted(func(_ []int, out *dataflow.Results[string]) { out.Fail(i, err) })
	}
	const sum = "the transform's results do not add up"
	for name, c := range map[string]struct {
		transform dataflow.Transform[int, string]
		want      string
		permanent bool
	}{
		"BatchShort":       {dataflow.Batch(func(context.Context, []int) ([]string, error) { return []string{"a"}, nil }), "the function of Batch returned 1 records for 3: it must return one for each", true},
		"BatchError":       {dataflow.Batch(func(context.Context, []int) ([]string, error) { return nil, errBroken }), "transform records 1 to 3: out of paper", false},
		"Panic":            {dataflow.Map(func(context.Context, int) (string, error) { panic("no ink") }), "transform records 1 to 3: panic: no ink", false},
		"ParallelPanic":    {dataflow.Parallel(2, dataflow.Map(func(_ context.Context, n int) (string, error) { panic(fmt.Sprint("no ink ", n)) })), "transform records 1 to 3: panic: no ink 1", false},
		"ParallelErrors":   {dataflow.Parallel(3, dataflow.Batch(func(_ context.Context, in []int) ([]string, error) { return nil, fmt.Errorf("no %d", in[0]) })), "no 2", false},
		"Interleaved":      {emits(0, 1, 0), sum, true},
		"InterleavedSlily": {emits(0, 2, 0), sum, true},
		"InterleavedBack":  {emits(2, 1, 2), sum, true},
		"BeyondEnd":        {emits(0, 1, 3), sum, true},
		"BeforeBeginning":  {emits(-1, 1), sum, true},
		"FailBeyondEnd":    {fails(3, errBroken), sum, true},
		"FailWithNil":      {fails(0, nil), sum, true},
		"InPipe":           {dataflow.Pipe(dataflow.Identity[int](), emits(0, 1, 7)), sum, true},
		"InPipeFirst":      {dataflow.Pipe(emits(0, 1, 0), dataflow.Identity[string]()), sum, true},
		"InParallel":       {dataflow.Parallel(3, emits(1)), sum, true},
		"Permanent":        {dataflow.Map(func(context.Context, int) (string, error) { return "", dataflow.Permanent(errBroken) }), "transform record 1: out of paper", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := sqlite(t, migratedFile(t)).transformed(3, c.transform)
			requirePublic(t, out.err)
			require.ErrorContains(t, out.err, c.want)
			require.Equal(t, c.permanent, dataflow.IsPermanent(out.err), "%s", out.err)
			require.Equal(t, c.permanent, out.run.State == dataflow.RunFailed)
			require.Empty(t, out.rows)
			require.Zero(t, out.run.Counters)
		})
	}
}

// Parallel parts really run at the same time.
func TestParallel_AtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	all.Add(3)
	out := sqlite(t, migratedFile(t)).transformed(3, dataflow.Parallel(3, dataflow.Map(func(ctx context.Context, n int) (string, error) {
		all.Done()
		all.Wait() // for ever, if they ran one after the other
		return text(ctx, n)
	})))
	require.NoError(t, out.err)
	require.Equal(t, []string{"1", "2"}, out.rows)
}

func TestSkipUpTo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("two", "three", "reading", "strict")
		bad := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if n%10 == 7 {
				return 0, errBroken
			}
			return n, nil
		})
		misread := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			for item, err := range (numbers{n: 30}).Read(ctx, r) {
				if item.Value%10 == 7 {
					err = fmt.Errorf("wrapped: %w", &dataflow.RecordError{Key: "line " + strconv.Itoa(item.Value), Err: errBroken})
				}
				if !yield(item, err) {
					return
				}
			}
		})
		l := newLogs()
		opts := func(n int64) *dataflow.FlowOptions {
			return &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.SkipUpTo(n)}
		}
		client := t.client(&dataflow.Config{Logger: l.logger(), Flows: []*dataflow.Flow{
			flowTo("two", 30, bad, opts(2)), flowTo("three", 30, bad, opts(3)),
			dataflow.NewFlow("reading", misread, bad, appendTo("reading"), opts(3)),
			dataflow.NewFlow("strict", misread, bad, appendTo("strict"), nil),
		}})
		require.NoError(t, client.Register(t.Context()))
		for _, name := range []string{"three", "reading"} {
			run, err := t.execute(client, name)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 30, Written: 27, Dropped: 3}, run.Counters)
			require.Equal(t, int64(27), t.number("select count(*) from "+name))
		}
		run, err := t.execute(client, "two")
		require.ErrorContains(t, err, "transform record 27: out of paper")
		require.Equal(t, dataflow.Counters{Read: 20, Written: 18, Dropped: 2}, run.Counters)

		run, err = t.execute(client, "strict")
		require.ErrorContains(t, err, "read record line 7: out of paper")
		var re *dataflow.RecordError
		require.ErrorAs(t, err, &re)
		require.Equal(t, dataflow.StageRead, re.Stage)
		require.Zero(t, run.Counters)

		require.Len(t, l.lines("record dropped"), 8)
		require.Len(t, l.lines(`stage=transform key=17 error="out of paper"`), 2)
		require.Len(t, l.lines(`stage=read key="line 17" error="out of paper"`), 1)
	})
}
