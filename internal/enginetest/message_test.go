package enginetest_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// messages is a source of these.
type messages []dataflow.Message

func (m messages) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[dataflow.Message, int], error] {
	return func(yield func(dataflow.Item[dataflow.Message, int], error) bool) {
		for i, v := range m {
			if !yield(dataflow.Item[dataflow.Message, int]{Value: v, Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// collected keeps messages.
type collected struct{ all []dataflow.Message }

func (c *collected) WriteTx(_ context.Context, rows []dataflow.Message) error {
	c.all = append(c.all, rows...)
	return nil
}

// TestPlan_10_Messages: records without a type are checked against a schema. The error
// of a bad record names the field, the expected type and the actual type.
func TestPlan_10_Messages(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := messages{{"id": 1, "name": "a"}, {"id": "2"}, {"id": 3, "name": "c", "more": true}}
		schema := dataflow.Schema{Fields: []dataflow.Field{{Name: "id", Type: dataflow.IntegerField}, {Name: "name", Type: dataflow.StringField}}}
		var bad []*dataflow.RecordError
		sink := &collected{}
		client := t.registered(dataflow.NewFlow("f", source, dataflow.Conform(schema), dataflow.ToTx[dataflow.Message](sink), &dataflow.FlowOptions{
			OnBadRecord: func(e *dataflow.RecordError, _ int64) dataflow.Action { bad = append(bad, e); return dataflow.Drop },
		}))
		run, err := t.execute(client, "f")
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 3, Written: 2, Dropped: 1}, run.Counters)
		require.Equal(t, []dataflow.Message{source[0], source[2]}, sink.all)
		require.Len(t, bad, 1)
		require.Equal(t, dataflow.StageTransform, bad[0].Stage)
		require.EqualError(t, errors.Unwrap(bad[0]), `field "id" must be of type integer, and is string; field "name" must be of type string, and is absent`)
		var fe *dataflow.FieldError
		require.ErrorAs(t, bad[0], &fe)
		require.Equal(t, &dataflow.FieldError{Field: "id", Expected: dataflow.IntegerField, Actual: "string"}, fe)

		_, err = dataflow.NewClient(t.driver, &dataflow.Config{Flows: []*dataflow.Flow{
			dataflow.NewFlow("f", source, dataflow.Conform(dataflow.Schema{Fields: []dataflow.Field{{Name: "id", Type: "int"}, {Name: "id", Type: "any"}, {}}}), dataflow.ToTx[dataflow.Message](sink), nil),
		}})
		require.ErrorContains(t, err, `Flows["f"].Transform.Fields[0].Type: "int" is not a type: use any, string, integer`)
		require.ErrorContains(t, err, `Flows["f"].Transform.Fields[1].Name: two fields are named "id"`)
		require.ErrorContains(t, err, `Flows["f"].Transform.Fields[2].Name: it is empty`)
	})
}
