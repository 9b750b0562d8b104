package enginetest_test

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

func TestParseGlobalID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]dataflow.GlobalID{
		"gid://dataflow/Flow/7":                                                    {App: "dataflow", Model: "Flow", ID: 7},
		"gid://my-app/ActiveDataFlow::DataFlow/12":                                 {App: "my-app", Model: "ActiveDataFlow::DataFlow", ID: 12},
		"gid://app/ActiveDataFlow::ActiveRecord::DataFlow/1?expires_in=3600&a=b/c": {App: "app", Model: "ActiveDataFlow::ActiveRecord::DataFlow", ID: 1, Params: "expires_in=3600&a=b/c"},
		"gid://dataflow/Run/9223372036854775807":                                   {App: "dataflow", Model: "Run", ID: 9223372036854775807},
	} {
		got, err := dataflow.ParseGlobalID(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
	for text, why := range map[string]string{
		"":                                 "does not begin with gid://",
		"7":                                "does not begin with gid://",
		"GID://dataflow/Flow/7":            "does not begin with gid://",
		"gid://dataflow/Flow":              "has 2 parts",
		"gid://dataflow/Flow/7/":           "has 4 parts",
		"gid:///Flow/7":                    "must be names",
		"gid://dataflow//7":                "must be names",
		"gid://data flow/Flow/7":           "must be names",
		"gid://dataflow/Flow/0":            "is not a positive number",
		"gid://dataflow/Flow/-7":           "is not a positive number",
		"gid://dataflow/Flow/+7":           "is not a positive number",
		"gid://dataflow/Flow/07":           "is not a positive number",
		"gid://dataflow/Flow/orders":       "is not a positive number",
		"gid://a/Flow/9223372036854775808": "is not a positive number",
	} {
		_, err := dataflow.ParseGlobalID(text)
		require.ErrorIs(t, err, dataflow.ErrGlobalID, text)
		require.ErrorContains(t, err, why, text)
		require.ErrorContains(t, err, "use gid://dataflow/Flow/ID")
		requirePublic(t, err)
	}
}

// Args read the same, in whichever form they are written: that of Postgres is read by a short way.
func TestDataFlowArgs_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	want := dataflow.DataFlowArgs{FlowID: 7, RunID: 12}
	for _, text := range []string{`{"run_id": 12, "flow_id": 7}`, `{"flow_id":7,"run_id":12}`, ` {"run_id": 12, "flow_id": 7} `, `{"run_id": 12, "flow_id": "7"}`, `{"run_id": 12, "flow_id": 7, "more": 1}`} {
		args := dataflow.DataFlowArgs{FlowID: 99, RunID: 99}
		require.NoError(t, json.Unmarshal([]byte(text), &args), text)
		require.Equal(t, want, args, text)
	}
	for _, text := range []string{`{"run_id": -1, "flow_id": 7}`, `{"run_id": 1, "flow_id": 0}`, `{"run_id": 12, "flow_id": 99999999999999999999}`, `{"run_id": 1.5, "flow_id": 7}`} {
		args := dataflow.DataFlowArgs{}
		require.NoError(t, json.Unmarshal([]byte(text), &args), text)
		require.NotEqual(t, dataflow.DataFlowArgs{FlowID: args.FlowID, RunID: args.RunID}, args, "%s: the fault is kept for the worker", text)
	}
}
