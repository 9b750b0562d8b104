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
