package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// flawed yields 1 to n; the records whose number is bad cannot be read.
func flawed(n int, bad ...int) readFunc {
	return func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= n; i++ {
			item := dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}
			err := ctx.Err()
			for _, b := range bad {
				if i == b {
					err = &dataflow.RecordError{Key: fmt.Sprint("line ", i), Raw: []byte("seven;"), Err: errBroken}
				}
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// except fails for one number.
func except(bad int) dataflow.Transform[int, int] {
	return dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n == bad {
			return 0, errBroken
		}
		return n, nil
	})
}

// letters returns the dead letters, oldest first, as text.
func (t *dbT) letters(client *dataflow.Client, p *dataflow.DeadLetterListParams) []string {
	t.Helper()
	all, err := client.DeadLetters(t.Context(), p)
	require.NoError(t, err)
	text := []string{}
	for i := range all {
		l := all[len(all)-1-i]
		text = append(text, fmt.Sprintf("%s %s %s", l.Stage, l.Key, l.Payload))
	}
	return text
}

// pickyTable makes a table hb that refuses some numbers.
func (t *dbT) pickyTable(condition string) {
	t.Helper()
	require.NoError(t, t.exec("create table hb (n integer check ("+condition+"))"))
}

// A record that cannot be read, transformed or written is kept with its batch's
// checkpoint, and the other records of the batch are written.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.pickyTable("n not in (11, 12, 29)")
		flow := dataflow.NewFlow("hb", flawed(30, 20), except(5), appendTo("hb"), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(5), MaxAttempts: 1,
		})
		client := t.registered(flow)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 30, Written: 25, DeadLettered: 5}, run.Counters)
		require.Equal(t, []string{"transform 5 5", `read line 20 "seven;"`, "write 11 11", "write 12 12", "write 29 29"}, t.letters(client, nil))
		require.Equal(t, []int64{25, 25}, []int64{t.number("select count(*) from hb"), t.number("select count(distinct n) from hb")})
		require.EqualValues(t, 5, t.number("select dead_lettered from dataflow_checkpoint"))

		letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "hb", Run: run.ID, Limit: 1})
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.Contains(t, letters[0].Error, "constraint")
		require.Equal(t, []any{"hb", run.ID, run.FlowID}, []any{letters[0].FlowName, letters[0].RunID, letters[0].FlowID})
		require.Empty(t, t.letters(client, &dataflow.DeadLetterListParams{Flow: "other"}))
	})
}

// One bad record more than the policy allows ends the attempt. Nothing of its batch is
// kept.
func TestDeadLetter_TooMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.pickyTable("n not in (5, 15, 16)")
		flow := dataflow.NewFlow("hb", numbers{n: 30}, dataflow.Identity[int](), appendTo("hb"), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(2), MaxAttempts: 1,
		})
		client := t.registered(flow)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.ErrorContains(t, err, "write record 16: ")
		require.Equal(t, dataflow.Counters{Read: 10, Written: 9, DeadLettered: 1}, run.Counters)
		require.Equal(t, []string{"write 5 5"}, t.letters(client, nil))
		require.EqualValues(t, 9, t.number("select count(*) from hb"))
	})
}

// Without a policy a batch that cannot be written fails as a whole.
func TestDeadLetter_FailFast(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.pickyTable("n <> 5")
		for _, policy := range []dataflow.Policy{nil, dataflow.FailFast} {
			flow := dataflow.NewFlow("hb", numbers{n: 9}, dataflow.Identity[int](), appendTo("hb"), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1})
			client := t.registered(flow)
			_, err := client.Trigger(t.Context(), "hb", nil)
			require.ErrorContains(t, err, "constraint")
			require.Zero(t, t.number("select count(*) from hb"))
		}
	})
}

// The outputs of one input are written or left out together.
func TestDeadLetter_FlatMap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.pickyTable("n <> 31")
		double := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) { return []int{n * 10, n*10 + 1, n*10 + 2}, nil })
		flow := dataflow.NewFlow("hb", numbers{n: 5}, double, appendTo("hb"), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(1)})
		client := t.registered(flow)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 5, Written: 4, Dropped: 1}, run.Counters)
		require.Equal(t, []int64{12, 0}, []int64{t.number("select count(*) from hb"), t.number("select count(*) from hb where n between 30 and 39")})
	})
}

// fussy is a sink that refuses numbers. It names the row by tells, if that is not nil.
type fussy struct {
	refused []int
	tells   func(row int) int
	sizes   []int // of what it was given
	drops   bool  // it writes nothing
}

func (p *fussy) WriteTx(ctx context.Context, rows []int) error {
	p.sizes = append(p.sizes, len(rows))
	for i, n := range rows {
		if !slices.Contains(p.refused, n) {
			continue
		}
		err := error(&dataflow.RecordError{Err: errBroken})
		if p.tells != nil {
			err = fmt.Errorf("sink: %w", &dataflow.RowError{Row: p.tells(i), Err: err})
		}
		return err
	}
	if p.drops {
		return nil
	}
	return insertInto(ctx, "hb", rows)
}

// The engine does not search for a row that the sink names. It writes the rows before
// and after it at once.
func TestDeadLetter_RowIsNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		sink := &fussy{refused: []int{38, 71, 72}, tells: func(row int) int { return row }}
		flow := dataflow.NewFlow("hb", numbers{n: 100}, dataflow.Identity[int](), dataflow.ToTx(sink), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 100}, OnBadRecord: dataflow.DeadLetterUpTo(3), MaxAttempts: 1,
		})
		client := t.registered(flow)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 100, Written: 97, DeadLettered: 3}, run.Counters)
		require.Equal(t, []string{"write 38 38", "write 71 71", "write 72 72"}, t.letters(client, nil))
		require.EqualValues(t, 97, t.number("select count(distinct n) from hb"))
		require.Equal(t, []int{100, 37, 1, 62, 32, 1, 29, 1, 28}, sink.sizes)
	})
}

// A sink that names the wrong row, or one that does not exist, only costs time.
func TestDeadLetter_WrongRowIsNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, tells := range map[string]func(row int) int{
			"none": nil, "first": func(int) int { return 0 }, "next": func(row int) int { return row + 1 },
			"negative": func(int) int { return -1 }, "beyond": func(int) int { return 1000 },
		} {
			require.NoError(t, t.exec("drop table if exists hb"))
			t.table("hb")
			sink := &fussy{refused: []int{5, 22, 30}, tells: tells}
			flow := dataflow.NewFlow(name, numbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx(sink), &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{BatchSize: 30}, OnBadRecord: dataflow.SkipUpTo(3), MaxAttempts: 1,
			})
			client := t.registered(flow)
			run, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err, name)
			require.Equal(t, dataflow.Counters{Read: 30, Written: 27, Dropped: 3}, run.Counters, name)
			require.Equal(t, []int64{27, 27}, []int64{t.number("select count(*) from hb"), t.number("select count(distinct n) from hb")}, name)
		}
	})
}

// After a bad record, batches are written in parts for a while. A part that fails does
// not fail the batch. Batches keep their size.
func TestDeadLetter_WrittenInParts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := &fussy{refused: []int{1, 5001}, tells: func(row int) int { return row }, drops: true}
		flow := dataflow.NewFlow("hb", numbers{n: 24_000}, dataflow.Identity[int](), dataflow.ToTx(sink), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 4000}, OnBadRecord: dataflow.DeadLetterUpTo(2), MaxAttempts: 1,
		})
		client := t.registered(flow)
		run, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 24_000, Written: 23_998, DeadLettered: 2}, run.Counters)
		parts := slices.Repeat([]int{1000}, 4)
		require.Equal(t, slices.Concat(
			[]int{4000, 1, 3999},
			[]int{1000, 1000, 1, 999, 1000, 1000},
			parts, parts, parts, parts,
		), sink.sizes)
	})
}

// A dead letter goes through the transform to the sink again, once.
func TestReplay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("hb")
		broken := true
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if broken && n%2 == 0 || n == 6 {
				return 0, errBroken
			}
			return n, nil
		})
		options := &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}
		client := t.registered(dataflow.NewFlow("hb", flawed(9, 7), transform, appendTo("hb"), options))
		_, err := client.Trigger(t.Context(), "hb", nil)
		require.NoError(t, err)
		all, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, all, 5)
		broken = false
		report, err := client.Replay(t.Context(), "hb", &dataflow.ReplayParams{IDs: []int64{all[0].ID, 999}}) // 8, the newest
		require.NoError(t, err)
		require.Equal(t, []int64{all[0].ID}, report.Replayed)
		require.Equal(t, map[int64]error{999: dataflow.ErrNotFound}, report.Failed)
		require.EqualValues(t, 1, t.number("select count(*) from hb where n = 8"))

		// Two processes at once.
		var wg sync.WaitGroup
		reports, errs := make([]*dataflow.ReplayReport, 2), make([]error, 2)
		for i := range reports {
			wg.Go(func() { reports[i], errs[i] = client.Replay(t.Context(), "hb", nil) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 2, len(reports[0].Replayed)+len(reports[1].Replayed))
		require.Equal(t, []string{`read line 7 "seven;"`, "transform 6 6"}, sorted(t.letters(client, &dataflow.DeadLetterListParams{Open: true})))
		require.EqualValues(t, 7, t.number("select count(*) from hb"))
		require.EqualValues(t, 7, t.number("select count(distinct n) from hb"))
		report, err = client.Replay(t.Context(), "hb", &dataflow.ReplayParams{IDs: []int64{all[0].ID}})
		require.NoError(t, err)
		require.ErrorContains(t, report.Failed[all[0].ID], "it was replayed at ")

		other := t.client(nil)
		_, err = other.Replay(t.Context(), "hb", nil)
		require.ErrorIs(t, err, dataflow.ErrNotRegistered)
		_, err = other.Replay(t.Context(), "nothing", nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		requirePublic(t, err)
	})
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return texts
}

// A sink outside the database gets a record again under the same key.
func TestReplay_To(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		fail := true
		var got []dataflow.SinkBatch[int]
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if fail && n == 2 {
				return 0, errBroken
			}
			return n, nil
		})
		sink := dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error { got = append(got, b); return nil }))
		client := t.registered(dataflow.NewFlow("f", numbers{n: 3}, transform, sink, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(1)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		fail = false
		report, err := client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Len(t, report.Replayed, 1)
		require.Equal(t, []int{1, 3}, got[0].Rows)
		require.Equal(t, dataflow.SinkBatch[int]{ID: fmt.Sprint("dead letter ", report.Replayed[0]), Rows: []int{2}, Keys: []string{"2"}}, got[1])
	})
}

func TestMaxBadRatio(t *testing.T) {
	t.Parallel()
	policy := dataflow.MaxBadRatio(0.01, dataflow.DeadLetterUpTo(50))
	for _, c := range []struct {
		bad, read int64
		want      dataflow.Action
	}{
		{1, 1, dataflow.DeadLetter},
		{50, 100, dataflow.DeadLetter},
		{51, 100, dataflow.Fail},
		{2, 101, dataflow.Fail},
		{1, 101, dataflow.DeadLetter},
		{50, 5000, dataflow.DeadLetter},
		{51, 10_000, dataflow.Fail},
	} {
		require.Equal(t, c.want, policy(&dataflow.RecordError{Read: c.read}, c.bad), "%d of %d", c.bad, c.read)
	}
	require.Equal(t, dataflow.Drop, dataflow.MaxBadRatio(0.5, nil)(&dataflow.RecordError{Read: 1000}, 500))
}
