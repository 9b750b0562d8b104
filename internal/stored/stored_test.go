package stored_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/stored"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestDigest(t *testing.T) {
	t.Parallel()
	// The digest is part of unique keys in databases.
	require.Equal(t, "5e9fadb89a9e9ede", stored.Digest(raw(`{"id":1}`)))
	require.Equal(t, stored.Digest(raw(`{"id":1}`)), stored.Digest(raw(" {\n\"id\" : 1 } ")))
	require.Equal(t, stored.Digest(nil), stored.Digest(raw(`{`)), "what is not JSON is empty")
	differ := map[string]bool{}
	for _, values := range [][]json.RawMessage{
		{}, {nil}, {nil, nil}, {raw(`1`)}, {raw(`12`)}, {raw(`1`), raw(`2`)}, {raw(`1`), nil}, {nil, raw(`1`)}, {raw(`"1"`)},
	} {
		differ[stored.Digest(values...)] = true
	}
	require.Len(t, differ, 9)
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b json.RawMessage
		same bool
	}{
		{nil, nil, true},
		{nil, raw(`null`), false},
		{raw(`null`), nil, false},
		{raw(`null`), raw(` null `), true},
		{raw(`{"a":1}`), raw(`{ "a": 1 }`), true},
		{raw(`{"a":1,"b":2}`), raw(`{"b":2,"a":1}`), false},
		{raw(`1`), raw(`1.0`), false},
		{raw(`{`), raw(`{`), false},
	} {
		require.Equal(t, c.same, stored.Same(c.a, c.b), "%s and %s", c.a, c.b)
	}
}

func TestDecodeStrict(t *testing.T) {
	t.Parallel()
	type cursor struct {
		ID int `json:"id"`
	}
	var c cursor
	require.NoError(t, stored.DecodeStrict([]byte(` {"id":7} `), &c))
	require.Equal(t, cursor{7}, c)
	for data, want := range map[string]string{
		`{"offset":7}`:      `unknown field "offset"`,
		`{"id":7}{"id":8}`:  "more data follows",
		`{"id":7} garbage`:  "more data follows",
		`{"id":"7"}`:        "cannot unmarshal",
		`{"id":7`:           "unexpected EOF",
		``:                  "EOF",
		`["id"]`:            "cannot unmarshal",
		`{"id":7,"more":0}`: `unknown field "more"`,
	} {
		require.ErrorContains(t, stored.DecodeStrict([]byte(data), &cursor{}), want, data)
	}
}

// The cursor of a key that has lost or gained a column is not one of the key.
func TestDecodeStrict_Array(t *testing.T) {
	t.Parallel()
	var two [2]string
	require.NoError(t, stored.DecodeStrict([]byte(`["a","b"]`), &two))
	require.Equal(t, [2]string{"a", "b"}, two)
	require.EqualError(t, stored.DecodeStrict([]byte(`["a"]`), &two), "a list of length 1 does not fit [2]string")
	require.EqualError(t, stored.DecodeStrict([]byte(`["a","b","c"]`), &two), "a list of length 3 does not fit [2]string")
	require.NoError(t, stored.DecodeStrict([]byte(" null"), &two), "params may be null")
	var lists []string
	require.NoError(t, stored.DecodeStrict([]byte(`["a","b","c"]`), &lists))
	var id texts
	require.NoError(t, stored.DecodeStrict([]byte(`"ab"`), &id), "it writes itself as a text")
	require.Equal(t, texts{'a', 'b'}, id)
}

type texts [2]byte

func (t *texts) UnmarshalText(text []byte) error { copy(t[:], text); return nil }

func TestClip(t *testing.T) {
	t.Parallel()
	require.Equal(t, strings.Repeat("x", 200), stored.Clip(strings.Repeat("x", 200)))
	require.Equal(t, strings.Repeat("x", 200)+"…", stored.Clip(strings.Repeat("x", 201)))
	require.Equal(t, strings.Repeat("x", 199)+"…", stored.Clip(strings.Repeat("x", 199)+"ä"), "no half of a letter stays")
}

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "",
		"plain ä ✓":      "plain ä ✓",
		"a\x00b":         "a\uFFFDb",
		"a\xffb":         "a\uFFFDb",
		"a\xff\xfe\x00b": "a\uFFFD\uFFFDb",
		"half \xc3":      "half \uFFFD",
	} {
		got := stored.Clean(text)
		require.Equal(t, want, got, "%q", text)
		require.True(t, utf8.ValidString(got))
	}
}

type page int

func (p page) String() string { return "page" }

type mute struct{ Name string }

func (mute) MarshalJSON() ([]byte, error) { return nil, errors.New("mute") }

func TestCursorText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "page", stored.CursorText(page(3)))
	require.Equal(t, `{"ID":3}`, stored.CursorText(struct{ ID int }{3}))
	require.Equal(t, "{x}", stored.CursorText(mute{"x"}), "it has no JSON")
}

func TestPlaceText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "the beginning", stored.PlaceText(nil))
	require.Equal(t, `cursor {"id":7}`, stored.PlaceText(raw(`{"id":7}`)))
	require.Equal(t, "cursor "+strings.Repeat("1", 200)+"…", stored.PlaceText(raw(strings.Repeat("1", 300))))
}

func TestHasReplaced(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"latin\xe9": true, "\ufffd": false, `\ufffd`: false, `\` + "\xe9": true, `\ufffd` + "\xff": true, "é": false} {
		data, err := json.Marshal(map[string]string{"a": text})
		require.NoError(t, err)
		require.Equal(t, want, stored.HasReplaced(data), "%q", text)
	}
}
