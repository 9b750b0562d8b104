package jsonrow

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Types that write themselves.
type (
	textual string              // by MarshalText, as it is
	masked  struct{ id []byte } // by MarshalText
	quoted  struct{ s string }  // by MarshalJSON, as it is
	encoded string              // by MarshalJSON, in another form
)

func (x textual) MarshalText() ([]byte, error)  { return []byte(x), nil }
func (x *textual) UnmarshalText(t []byte) error { *x = textual(t); return nil }
func (x masked) MarshalText() ([]byte, error)   { return x.id, nil }
func (x *quoted) MarshalJSON() ([]byte, error)  { return json.Marshal(x.s) }
func (x encoded) MarshalJSON() ([]byte, error)  { return json.Marshal([]byte(x)) }

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
		{outer{Any: textual(bad)}, `the text "caf\xe9" of the field Any is not UTF-8`},
		{&struct{ ID masked }{masked{[]byte(bad)}}, `the text "caf\xe9" of the field ID is not UTF-8`},
		{&struct{ Q quoted }{quoted{bad}}, `the text "caf\xe9" of the field Q is not UTF-8`},
		{struct{ Q *quoted }{&quoted{bad}}, `the text "caf\xe9" of the field Q is not UTF-8`},
		{outer{Any: encoded(bad), Raw: json.RawMessage(`"\ufffd"`)}, ""},
		{&struct{ Q *quoted }{}, ""},
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
