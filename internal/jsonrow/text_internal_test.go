package jsonrow

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// A text that is not UTF-8 does not become another one: ä, ö and é were all U+FFFD.
func TestDecoder_NotUTF8(t *testing.T) {
	t.Parallel()
	const line = "{\"id\":1,\"name\":\"caf\xe9\"}"
	type plain struct {
		Name string `json:"name"`
	}
	type other struct {
		ID json.Number `json:"id"`
	}
	const text = `its byte 20, \xE9, is not UTF-8`
	for _, strict := range []bool{false, true} {
		require.ErrorContains(t, NewDecoder[plain](strict).Decode([]byte(line)), text)
		require.ErrorContains(t, NewDecoder[map[string]any](strict).Decode([]byte(line)), text)
		require.ErrorContains(t, NewDecoder[other](strict).Decode([]byte(line)), text)
		require.ErrorContains(t, NewDecoder[any](strict).Decode([]byte(line)), text)
		raw := NewDecoder[json.RawMessage](strict)
		require.NoError(t, raw.Decode([]byte(line)))
		require.Len(t, raw.Value(), len(line), "it is not changed")
	}
	_, err := Parse[plain](Raw([]byte(line)), false, false)
	require.NoError(t, err, "the engine refuses it before, by the escape")
	require.Equal(t, `"{\"id\":1,\"name\":\"caf\ufffd\"}"`, string(Raw([]byte(line))))
	require.NoError(t, CheckUTF8([]byte(`{"name":"café`+"\ufffd"+`"}`)))
}

// Half of a surrogate pair, as of a text that was cut within an emoji, does not become U+FFFD.
func TestDecoder_HalfOfPair(t *testing.T) {
	t.Parallel()
	type inner struct{ Text textual }
	type row struct {
		ID    int
		Name  string
		Inner *inner
		Any   any
		Raw   json.RawMessage
	}
	for line, text := range map[string]string{
		`{"ID":1,"Name":"a\ud83d"}`:              `of the field Name has half of a surrogate pair`,
		`{"ID":1,"Name":"\uDE00\ud83d"}`:         `of the field Name`,
		`{"ID":1,"Name":"\ud83d\u0041"}`:         `of the field Name`,
		`{"ID":1,"Inner":{"Text":"\\\ude00"}}`:   `of the field Text`,
		`{"ID":1,"Any":[{"x":"\ud83d"}]}`:        `of "x"`,
		`{"ID":1,"Any":{"\ud83d":1}}`:            `of the field Any`,
		`{"ID":1,"Name":"\ud83d\ude00 \u00e9"}`:  "",
		`{"ID":1,"Name":"\\ud83d","Other":"\""}`: "",
		`{"ID":1,"Name":"\ufffd"}`:               "", // it came so
		`{"ID":1,"Other":"\ud83d"}`:              "", // it is not read
		`{"ID":1,"Raw":{"x":"\ud83d"}}`:          "", // it is not changed
	} {
		for _, strict := range []bool{false, true} {
			dec := NewDecoder[row](strict)
			err := dec.Decode([]byte(line))
			if text != "" {
				require.ErrorContains(t, err, text, line)
			} else if err != nil {
				require.ErrorContains(t, err, `unknown field "Other"`, line)
			}
		}
	}
	require.Error(t, NewDecoder[any](false).Decode([]byte(`["\ud83d"]`)))
	require.NoError(t, NewDecoder[json.RawMessage](false).Decode([]byte(`["\ud83d"]`)))
}
