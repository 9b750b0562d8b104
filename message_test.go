package dataflow_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func TestSchema_Check(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"string": "a", "integer": 7, "number": 7.5, "boolean": false, "time": time.Unix(0, 0), "object": map[string]any{}, "array": []any{1},
		"null": nil, "struct {}": struct{}{},
	}
	for _, typ := range []dataflow.FieldType{
		dataflow.StringField, dataflow.IntegerField, dataflow.NumberField, dataflow.BooleanField, dataflow.TimeField, dataflow.ObjectField, dataflow.ArrayField,
	} {
		schema := dataflow.Schema{Fields: []dataflow.Field{{Name: "f", Type: typ}}}
		require.NoError(t, schema.Validate())
		for actual, v := range values {
			err := schema.Check(dataflow.Message{"f": v, "more": 1})
			if actual == string(typ) || actual == "integer" && typ == dataflow.NumberField {
				require.NoError(t, err, "%s is %s", actual, typ)
				continue
			}
			var fe *dataflow.FieldError
			require.ErrorAs(t, err, &fe, "%s is not %s", actual, typ)
			require.Equal(t, &dataflow.FieldError{Field: "f", Expected: typ, Actual: actual}, fe)
			require.EqualError(t, err, `field "f" must be of type `+string(typ)+`, and is `+actual)
		}
	}
	for _, c := range []struct {
		typ  dataflow.FieldType
		v    any
		fits bool
	}{
		{dataflow.IntegerField, 7.0, true},
		{dataflow.IntegerField, json.Number("7"), true},
		{dataflow.IntegerField, json.Number("7.5"), false},
		{dataflow.IntegerField, uint8(7), true},
		{dataflow.NumberField, json.Number("7.5"), true},
		{dataflow.NumberField, "7", false},
		{dataflow.TimeField, "2024-01-02T03:04:05Z", true},
		{dataflow.TimeField, "2024-01-02", false},
		{dataflow.ObjectField, dataflow.Message{}, true},
		{dataflow.ArrayField, []string(nil), false},
		{dataflow.AnyField, nil, true},
		{dataflow.AnyField, struct{}{}, true},
	} {
		err := dataflow.Schema{Fields: []dataflow.Field{{Name: "f", Type: c.typ}}}.Check(dataflow.Message{"f": c.v})
		require.Equal(t, c.fits, err == nil, "%T %v is %s: %v", c.v, c.v, c.typ, err)
	}
	full := dataflow.Schema{Closed: true, Fields: []dataflow.Field{
		{Name: "a", Type: dataflow.StringField}, {Name: "b", Type: dataflow.StringField, Optional: true}, {Name: "c", Type: dataflow.StringField, Nullable: true},
	}}
	require.NoError(t, full.Check(dataflow.Message{"a": "", "c": nil}))
	require.EqualError(t, full.Check(dataflow.Message{"b": nil, "z": 1, "y": true}), `field "a" must be of type string, and is absent
field "b" must be of type string, and is null
field "c" must be of type string, and is absent
field "y" is not in the schema: it is of type boolean
field "z" is not in the schema: it is of type integer`)
}
