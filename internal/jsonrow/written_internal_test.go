package jsonrow

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckWritten(t *testing.T) {
	t.Parallel()
	type deep struct{ Name string }
	type outer struct {
		*deep
		Tags []string `json:"tags"`
		Any  any
		Out  string `json:"-"`
		Raw  json.RawMessage
	}
	const bad = "caf\xe9"
	for _, tt := range []struct {
		row  any
		text string
	}{
		{outer{deep: &deep{Name: "café\ufffd"}}, ""},
		{outer{Out: bad}, ""},
		{outer{Raw: json.RawMessage(`"\ufffd"`)}, ""}, // it came so
		{outer{deep: &deep{Name: bad}}, `the text "caf\xe9" of the field Name is not UTF-8`},
		{&outer{Tags: []string{"a", bad}}, `of the field Tags is not UTF-8`},
		{outer{Any: map[string]any{"x": []any{1, bad}}}, `of "x" is not UTF-8`},
		{map[string]string{bad: "x"}, `the text "caf\xe9" of the row is not UTF-8`},
		{bad, `the text "caf\xe9" of the row is not UTF-8`},
	} {
		written, err := json.Marshal(tt.row)
		require.NoError(t, err)
		if err = CheckWritten(written, tt.row); tt.text == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tt.text)
	}
}
