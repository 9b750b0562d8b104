package enginetest_test

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// Dead letters are replayed oldest first, over all pages of the list. So the newest
// version of a row stays.
func TestReplay_Order(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		const n = 250
		broken := true
		var got []int
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if broken {
				return 0, errBroken
			}
			return n, nil
		})
		sink := dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			got = append(got, b.Rows...)
			return nil
		}))
		client := t.registered(dataflow.NewFlow("f", numbers{n: n}, transform, sink, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(n)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Limit: n})
		require.NoError(t, err)
		require.Len(t, letters, n)
		broken = false

		report, err := client.Replay(t.Context(), "f", &dataflow.ReplayParams{IDs: []int64{letters[0].ID, letters[n-1].ID, letters[n-2].ID}})
		require.NoError(t, err)
		require.Empty(t, report.Failed)
		require.Equal(t, []int{1, 2, n}, got)

		report, err = client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Empty(t, report.Failed)
		require.Len(t, report.Replayed, n-3)
		require.True(t, slices.IsSorted(report.Replayed))
		require.True(t, slices.IsSorted(got[3:]))
		require.Len(t, got, n)
	})
}

// A dead letter of another flow is no dead letter of this one. The error names the flow that has it.
func TestReplay_OfAnotherFlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		opts := &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(1000)}
		bad := dataflow.Map(func(context.Context, int) (int, error) { return 0, errBroken })
		client := t.registered(
			dataflow.NewFlow("f", numbers{n: 250}, bad, dataflow.ToTx(discard{}), opts),
			dataflow.NewFlow("g", numbers{n: 1}, bad, dataflow.ToTx(discard{}), opts))
		for _, name := range []string{"g", "f"} {
			_, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
		}
		letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "g"})
		require.NoError(t, err)
		other, none := letters[0].ID, int64(9999)
		letters, err = client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "f", Limit: 1000})
		require.NoError(t, err)
		last := letters[len(letters)-1].ID

		report, err := client.Replay(t.Context(), "f", &dataflow.ReplayParams{IDs: []int64{other, last, letters[120].ID, none}})
		require.NoError(t, err)
		require.Len(t, report.Failed, 4)
		require.ErrorIs(t, report.Failed[other], dataflow.ErrNotFound)
		require.EqualError(t, report.Failed[other], `not found in this flow: it is of flow "g"`)
		require.Equal(t, dataflow.ErrNotFound, report.Failed[none])
		require.ErrorIs(t, report.Failed[last], errBroken)
		require.ErrorIs(t, report.Failed[letters[120].ID], errBroken)
		_, err = client.CloseDeadLetters(t.Context(), "f", &dataflow.CloseDeadLettersParams{State: dataflow.DeadLetterResolved, IDs: []int64{other}})
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		require.ErrorContains(t, err, `not found in this flow: it is of flow "g"`)
	})
}

// A record that could not be read is known by its source's names of its fields. It is
// written only if they are all fields of the type.
func TestReplay_Read(t *testing.T) {
	t.Parallel()
	type strike struct {
		Airport string
		Speed   *int
	}
	onBoth(t, func(t *dbT) {
		raw := []string{`{"Airport":"A","Speed IAS":"fast"}`, `{"Airport Name":"B"}`, `"C;fast"`, `{"Airport":"D","Speed":110}`, `E;fast`}
		source := memory.Func(func(context.Context) iter.Seq2[strike, error] {
			return func(yield func(strike, error) bool) {
				for _, text := range raw {
					if !yield(strike{}, &dataflow.RecordError{Raw: json.RawMessage(text), Err: errBroken}) {
						return
					}
				}
			}
		})
		sink := memory.NewSink[strike]()
		client := t.registered(dataflow.NewFlow("f", source, dataflow.Identity[strike](), sink.Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)

		report, err := client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		speed := 110
		require.Equal(t, []strike{{Airport: "D", Speed: &speed}}, sink.Rows())
		require.Len(t, report.Replayed, 1)
		var texts []string
		for _, id := range slices.Sorted(maps.Keys(report.Failed)) {
			texts = append(texts, report.Failed[id].Error())
		}
		require.Len(t, texts, len(raw)-1)
		for i, want := range []string{`unknown field "Speed IAS"`, `unknown field "Airport Name"`, "nothing but its text is known", "nothing but its text is known"} {
			require.Contains(t, texts[i], want)
		}
	})
}

// Text that is not UTF-8 cannot be kept as JSON. Replay must not write another text.
func TestReplay_NotUTF8(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		broken := true
		var got []string
		transform := dataflow.Map(func(_ context.Context, s string) (string, error) {
			if broken {
				return "", errBroken
			}
			return s, nil
		})
		sink := dataflow.To(dataflow.SinkFunc[string](func(_ context.Context, b dataflow.SinkBatch[string]) error {
			got = append(got, b.Rows...)
			return nil
		}))
		source := memory.Slice([]string{"latin\xe9", "one \ufffd", `\ufffd`})
		client := t.registered(dataflow.NewFlow("f", source, transform, sink, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(3)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		broken = false
		report, err := client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Equal(t, []string{"one \ufffd", `\ufffd`}, got)
		require.Len(t, report.Failed, 1)
		for _, err := range report.Failed {
			require.ErrorContains(t, err, "it held text that is not UTF-8")
		}
	})
}

// A dead letter keeps all digits of a number, and Replay too.
func TestReplay_Digits(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		broken := true
		var got []map[string]any
		transform := dataflow.Map(func(_ context.Context, m map[string]any) (map[string]any, error) {
			if broken {
				return nil, errBroken
			}
			return m, nil
		})
		sink := dataflow.To(dataflow.SinkFunc[map[string]any](func(_ context.Context, b dataflow.SinkBatch[map[string]any]) error {
			got = append(got, b.Rows...)
			return nil
		}))
		row := map[string]any{"n": json.Number("1610521604143693812"), "f": json.Number("1.10")}
		client := t.registered(dataflow.NewFlow("f", memory.Slice([]map[string]any{row}), transform, sink, &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(3)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		broken = false
		_, err = client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Equal(t, []map[string]any{row}, got)
	})
}

// Of two replays at once, one writes the record. The other leaves it out, or says that it was replayed.
func TestReplay_AtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var client *dataflow.Client
		broken, meanwhile := true, func() {}
		transform := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if broken {
				return 0, errBroken
			}
			meanwhile()
			return n, nil
		})
		require.NoError(t, t.exec("create table numbers (n integer)"))
		client = t.registered(dataflow.NewFlow("f", numbers{n: 2}, transform, appendTo("numbers"), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(2)}))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		letters, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, letters, 2)
		broken = false
		other := func(id int64) {
			meanwhile = func() {
				meanwhile = func() {}
				report, err := client.Replay(t.Context(), "f", &dataflow.ReplayParams{IDs: []int64{id}, Actor: "ann"})
				require.NoError(t, err)
				require.Equal(t, []int64{id}, report.Replayed)
			}
		}

		other(letters[1].ID)
		report, err := client.Replay(t.Context(), "f", &dataflow.ReplayParams{IDs: []int64{letters[1].ID}})
		require.NoError(t, err)
		require.Empty(t, report.Replayed)
		require.ErrorIs(t, report.Failed[letters[1].ID], dataflow.ErrDeadLetterClosed)
		require.ErrorContains(t, report.Failed[letters[1].ID], " by ann")

		other(letters[0].ID)
		report, err = client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Empty(t, report.Replayed)
		require.Empty(t, report.Failed)
		t.exactly(2)
	})
}
