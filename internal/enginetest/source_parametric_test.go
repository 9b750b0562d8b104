package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// span is the parameters of a run of the flow in these tests.
type span struct {
	Last  int  `json:"last"`
	Plain bool `json:"plain"` // without a source's powers
}

// spans makes a source of a span: the numbers up to its last, 5 if it has none.
func spans(made *[]*acking) dataflow.Source[int, int] {
	return dataflow.Parametric(func(p span) (dataflow.Source[int, int], error) {
		switch {
		case p.Last < 0:
			return nil, errors.New("last is negative: use 1 or more")
		case p.Last == 99:
			return nil, nil
		case p.Last == 0:
			p.Last = 5
		}
		if p.Plain {
			return numbers{n: p.Last}, nil
		}
		a := &acking{ranged: ranged{n: p.Last}}
		*made = append(*made, a)
		return a, nil
	})
}

// A source is made from each run's parameters, and has the powers of that source.
func TestParametric(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var made []*acking
		client := t.registered(t.numbersFlow("n", spans(&made), dataflow.Heartbeat{BatchSize: 4}))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		require.EqualValues(t, 5, run.Counters.Read)
		require.EqualValues(t, 5, *run.Total)
		var acked [][]int
		for _, a := range made {
			if a.acked != nil {
				acked = append(acked, a.acked)
			}
		}
		require.Equal(t, [][]int{{4, 5}}, acked, "the source that is read hears of the checkpoints")

		run, err = client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{Params: json.RawMessage(`{"last": 7}`)})
		require.NoError(t, err)
		require.EqualValues(t, 2, run.Counters.Read)
		run, err = client.Backfill(t.Context(), "n", &dataflow.BackfillParams{Params: json.RawMessage(`{"last": 20}`), From: cursorAt(1), Until: cursorAt(9)})
		require.NoError(t, err)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		run, err = client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.EqualValues(t, 8, run.Counters.Read)
		run, err = client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{Params: json.RawMessage(`{"last": 8, "plain": true}`)})
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.Read)
		require.Nil(t, run.Total)

		for params, want := range map[string]string{
			`{"last": -1}`:            "Params: last is negative: use 1 or more",
			`{"last": 99}`:            "the function of Parametric returned no source",
			`{"first": 1}`:            `Params: {"first": 1} is not a enginetest_test.span: json: unknown field "first"`,
			`{"last": 1} {}`:          "is not JSON",
			`[]`:                      "Params: [] is not a enginetest_test.span",
			`{"last":3,"plain":true}`: "Until: the source (custom) cannot end a read there",
		} {
			_, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{Params: json.RawMessage(params), Until: cursorAt(2)})
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce, params)
			require.ErrorContains(t, err, want)
		}
	})
}

// The source without parameters is checked with the flow.
func TestParametric_Validate(t *testing.T) {
	t.Parallel()
	flow := dataflow.NewFlow("n", dataflow.Parametric[int, int, int](nil), dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
	_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.ErrorContains(t, err, `Flows["n"].Source.Parametric: the function is nil`)
	var made []*acking
	d := spans(&made).(dataflow.Describer).Describe()
	require.Equal(t, dataflow.Description{Type: "parametric", Detail: map[string]any{"source": dataflow.Description{Type: "custom"}}}, d)
	source := dataflow.Parametric(func(int) (dataflow.Source[int, int], error) { panic("of the function") })
	require.Equal(t, "parametric", source.(dataflow.Describer).Describe().Type)
	for _, err := range source.Read(context.Background(), dataflow.Request[int]{Params: json.RawMessage("{}")}) {
		require.ErrorContains(t, err, "is not a int")
		require.True(t, dataflow.IsPermanent(err))
	}
}
