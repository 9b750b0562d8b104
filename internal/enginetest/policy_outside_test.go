package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// fussyAPI is a sink outside the database that refuses some numbers. refuses says how.
type fussyAPI struct {
	refused []int
	refuses func(b dataflow.SinkBatch[int], row int) error
	calls   []string // what it was given
	taken   map[string]int
}

func (s *fussyAPI) Write(_ context.Context, b dataflow.SinkBatch[int]) error {
	s.calls = append(s.calls, fmt.Sprint(b.Rows))
	if s.taken == nil {
		s.taken = map[string]int{}
	}
	for i, n := range b.Rows {
		if slices.Contains(s.refused, n) {
			if err := s.refuses(b, i); err != nil {
				return err
			}
			continue
		}
		s.taken[b.Keys[i]]++
	}
	return nil
}

var refusals = map[string]func(b dataflow.SinkBatch[int], row int) error{
	"RecordError": func(dataflow.SinkBatch[int], int) error { return &dataflow.RecordError{Err: errBroken} },
	"RowError": func(_ dataflow.SinkBatch[int], row int) error {
		return fmt.Errorf("sink: %w", &dataflow.RowError{Row: row, Err: errBroken})
	},
	"RowErrorAlone": func(_ dataflow.SinkBatch[int], row int) error {
		return &dataflow.RowError{Row: row, Alone: true, Err: errBroken}
	},
	"Refuse": func(b dataflow.SinkBatch[int], row int) error { return b.Refuse(row, errBroken) },
}

// Rows that a sink outside the database refuses are for the policy, and all others are
// written, however the sink says it.
func TestDeadLetter_To(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, refuses := range refusals {
			sink := &fussyAPI{refused: []int{3, 17, 18}, refuses: refuses}
			flow := dataflow.NewFlow(name, numbers{n: 20}, dataflow.Identity[int](), dataflow.To(sink), &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(3), MaxAttempts: 1,
			})
			client := t.registered(flow)
			run, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err, name)
			require.Equal(t, dataflow.Counters{Read: 20, Written: 17, DeadLettered: 3}, run.Counters, name)
			require.Equal(t, []string{"write 3 3", "write 17 17", "write 18 18"}, t.letters(client, &dataflow.DeadLetterListParams{Flow: name}), name)
			require.Len(t, sink.taken, 17, name)
			if name == "Refuse" {
				require.Len(t, sink.calls, 2)
				for key, n := range sink.taken {
					require.Equal(t, 1, n, key)
				}
			}
		}
	})
}

// One row more than the policy allows, or a policy that keeps nothing, ends the attempt.
func TestDeadLetter_ToTooMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, refuses := range refusals {
			for i, policy := range []dataflow.Policy{nil, dataflow.FailFast, dataflow.DeadLetterUpTo(1)} {
				sink := &fussyAPI{refused: []int{3, 7}, refuses: func(b dataflow.SinkBatch[int], row int) error {
					if b.Refuse == nil {
						return errBroken
					}
					return refuses(b, row)
				}}
				name := fmt.Sprint(name, i)
				client := t.registered(dataflow.NewFlow(name, numbers{n: 9}, dataflow.Identity[int](), dataflow.To(sink), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1}))
				run, err := client.Trigger(t.Context(), name, nil)
				require.ErrorIs(t, err, errBroken, name)
				require.Equal(t, dataflow.RunFailed, run.State)
				require.Zero(t, run.Counters, name)
				require.Empty(t, t.letters(client, &dataflow.DeadLetterListParams{Flow: name}))
			}
		}
	})
}

// A part of a batch has an ID of its own, and the same one when it is written again.
func TestDeadLetter_ToParts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		ids := map[string][]string{}
		fails := true
		sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			ids[b.ID] = append(ids[b.ID], fmt.Sprint(b.Rows, b.Keys))
			switch {
			case slices.Contains(b.Rows, 2):
				return &dataflow.RecordError{Err: errBroken}
			case fails && slices.Contains(b.Rows, 4):
				fails = false
				return errors.New("the wire was cut")
			}
			return nil
		})
		client := t.registered(dataflow.NewFlow("api", numbers{n: 4}, dataflow.Identity[int](), dataflow.To(sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(1), MaxAttempts: 1}))
		_, err := client.Trigger(t.Context(), "api", nil)
		require.ErrorContains(t, err, "write records 3 to 4: the wire was cut")
		run, err := client.Trigger(t.Context(), "api", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 4, Written: 3, Dropped: 1}, run.Counters)
		require.Len(t, ids, 5)
		for id, calls := range ids {
			require.Len(t, calls, 2, id)
			require.Equal(t, calls[0], calls[1], id)
		}
	})
}

// The outputs of one input count once.
func TestDeadLetter_ToFlatMap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		double := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) { return []int{n * 10, n*10 + 1, n*10 + 2}, nil })
		for name, refuses := range refusals {
			sink := &fussyAPI{refused: []int{30, 31, 52}, refuses: refuses}
			client := t.registered(dataflow.NewFlow(name, numbers{n: 5}, double, dataflow.To(sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(2), MaxAttempts: 1}))
			run, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err, name)
			require.Equal(t, dataflow.Counters{Read: 5, Written: 3, Dropped: 2}, run.Counters, name)
			for _, key := range []string{"1", "1/2", "1/3", "2", "2/2", "2/3", "4", "4/2", "4/3"} {
				require.NotZero(t, sink.taken[key], "%s: %s", name, key)
			}
		}
	})
}

// refusing makes the store elsewhere refuse batches with some numbers.
func refusing(tells func(row int) error, refused ...int) func(rows []int) error {
	return func(rows []int) error {
		for i, n := range rows {
			if slices.Contains(refused, n) {
				return tells(i)
			}
		}
		return nil
	}
}

// A fenced sink gets the batch without the rows that it names, or divided where the source
// can resume. Each row is written once, also if an attempt breaks between the parts.
func TestDeadLetter_ToFenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, tells := range map[string]func(row int) error{
			"RowError":    func(row int) error { return &dataflow.RowError{Row: row, Err: errBroken} },
			"RecordError": func(int) error { return &dataflow.RecordError{Err: errBroken} },
		} {
			for _, breakAt := range []int{0, 1, 2, 3, 4, 5} {
				name := fmt.Sprint(name, breakAt)
				commits := 0
				sink := &elsewhere{before: refusing(tells, 3, 17, 18, 30)}
				sink.after = func(int) error {
					if commits++; commits == breakAt {
						return errors.New("the wire was cut")
					}
					return nil
				}
				odd := dataflow.Filter(func(n int) bool { return n != 5 && n != 20 })
				flow := dataflow.NewFlow(name, numbers{n: 30}, odd, dataflow.ToFenced(sink), &dataflow.FlowOptions{
					Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(9), MaxAttempts: 1,
				})
				client := t.registered(flow)
				run, err := client.Trigger(t.Context(), name, nil)
				if breakAt > 0 && err != nil {
					require.ErrorContains(t, err, "the wire was cut", name)
					_, err = client.Trigger(t.Context(), name, nil)
				}
				require.NoError(t, err, name)
				want := []int{}
				for n := 1; n <= 30; n++ {
					if !slices.Contains([]int{3, 5, 17, 18, 20, 30}, n) {
						want = append(want, n)
					}
				}
				require.Equal(t, want, sink.rows, name)
				letters := t.letters(client, &dataflow.DeadLetterListParams{Flow: name})
				slices.Sort(letters)
				require.Equal(t, []string{"write 17 17", "write 18 18", "write 3 3", "write 30 30"}, slices.Compact(letters), name)
				if breakAt == 0 {
					require.Equal(t, dataflow.Counters{Read: 30, Written: 24, Filtered: 2, DeadLettered: 4}, run.Counters, name)
				}
				cur, err := client.Cursor(t.Context(), name)
				require.NoError(t, err)
				require.Equal(t, "30", string(cur.Cursor))
			}
		}
	})
}

// Without a resume point, and without a name, a batch cannot be divided: the error says what
// the sink could do.
func TestDeadLetter_ToFencedWithoutAName(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		pages := readFunc(func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			for i := r.From + 1; i <= 4; i++ {
				if !yield(dataflow.Item[int, int]{Value: i, Key: fmt.Sprint(i), Cursor: i, Resume: i%4 == 0}, nil) {
					return
				}
			}
		})
		sink := &elsewhere{before: refusing(func(int) error { return &dataflow.RecordError{Err: errBroken} }, 3)}
		client := t.registered(dataflow.NewFlow("far", pages, dataflow.Identity[int](), dataflow.ToFenced(sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(9), MaxAttempts: 1}))
		_, err := client.Trigger(t.Context(), "far", nil)
		require.ErrorContains(t, err, "let the sink return a *RowError")
		require.Empty(t, sink.rows)
	})
}

// A sink that goes on after the policy has said no does not make a record vanish.
func TestDeadLetter_ToIgnoresThePolicy(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			_ = b.Refuse(0, errBroken)
			_ = b.Refuse(1, errBroken)
			return nil
		})
		client := t.registered(dataflow.NewFlow("api", numbers{n: 4}, dataflow.Identity[int](), dataflow.To(sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(1), MaxAttempts: 1}))
		run, err := client.Trigger(t.Context(), "api", nil)
		require.ErrorContains(t, err, "write record 2: ")
		require.Zero(t, run.Counters)
	})
}
