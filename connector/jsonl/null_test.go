package jsonl_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// A line null is a bad record, and no record of zero values.
func TestRead_Null(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int `json:"id"`
	}
	for _, strict := range []bool{false, true} {
		good, bad := nulls[row](t, strict)
		require.Equal(t, []row{{1}}, good)
		require.Equal(t, []string{"line 1", "line 3"}, bad)
		maps, bad := nulls[map[string]int](t, strict)
		require.Equal(t, []map[string]int{{"id": 1}}, maps)
		require.Len(t, bad, 2)
		pointers, bad := nulls[*row](t, strict)
		require.Equal(t, []*row{nil, {1}, nil}, pointers)
		require.Empty(t, bad)
		raws, bad := nulls[json.RawMessage](t, strict)
		require.Len(t, raws, 3)
		require.Empty(t, bad)
	}
}

func nulls[T any](t *testing.T, strict bool) (good []T, bad []string) {
	t.Helper()
	src := jsonl.From[T](strings.NewReader("null\n{\"id\":1}\n null \n"), &jsonl.Options{Strict: strict})
	for item, err := range src.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		if err == nil {
			good = append(good, item.Value)
			continue
		}
		var e *dataflow.RecordError
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, e.Err, "the record is null")
		bad = append(bad, e.Key)
	}
	return good, bad
}

// A number in an interface keeps all its digits.
func TestRead_Digits(t *testing.T) {
	t.Parallel()
	type loose struct {
		ID    int64          `json:"id"`
		Extra map[string]any `json:"extra"`
		Any   any            `json:"any"`
	}
	path := write(t, "n.jsonl", []byte(`{"id":1610521604143693812,"extra":{"n":1610521604143693812,"f":1.10},"any":12345678901234567890}`+"\n"))
	want := loose{1610521604143693812, map[string]any{"n": json.Number("1610521604143693812"), "f": json.Number("1.10")}, json.Number("12345678901234567890")}
	for _, strict := range []bool{false, true} {
		n := 0
		for item, err := range jsonl.Open[loose](path, &jsonl.Options{Strict: strict}).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
			require.NoError(t, err)
			require.Equal(t, want, item.Value)
			n++
		}
		require.Equal(t, 1, n)
	}
	for item, err := range jsonl.Open[any](path, nil).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
		require.NoError(t, err)
		require.Equal(t, json.Number("1610521604143693812"), item.Value.(map[string]any)["id"])
	}
}

// A byte order mark is left out of each line that begins with one: files may have been put together.
func TestRead_MarkWithin(t *testing.T) {
	t.Parallel()
	const mark = "\xEF\xBB\xBF"
	src := jsonl.From[map[string]string](strings.NewReader(mark+"{\"a\":\"1\"}\n"+mark+"{\"a\":\""+mark+"\"}\n"+mark+"\n"+mark+"{\"a\":\"3\"}"), nil)
	var got []map[string]string
	for item, err := range src.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		got = append(got, item.Value)
	}
	require.Equal(t, []map[string]string{{"a": "1"}, {"a": mark}, {"a": "3"}}, got)
}

// A line that is not UTF-8, such as of a file in ISO 8859-1, is a bad record, and no record with other characters.
func TestRead_NotUTF8(t *testing.T) {
	t.Parallel()
	path := write(t, "latin1.jsonl", []byte("{\"a\":\"ok\"}\n{\"a\":\"caf\xe9\"}\n{\"a\":\"café\"}\n"))
	var got []map[string]string
	flow := dataflow.NewFlow("latin1", jsonl.Open[map[string]string](path, nil), dataflow.Identity[map[string]string](),
		memory.ToFunc(func(_ context.Context, row map[string]string) error {
			got = append(got, row)
			return nil
		}), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(1)})
	client := dataflowtest.New(t, flow).Client()
	run, err := client.Trigger(t.Context(), "latin1", nil)
	require.NoError(t, err)
	require.Equal(t, []map[string]string{{"a": "ok"}, {"a": "café"}}, got)
	require.EqualValues(t, 1, run.Counters.DeadLettered)
	letters, err := client.DeadLetters(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "line 2", letters[0].Key)
	require.Contains(t, letters[0].Error, `its byte 10, \xE9, is not UTF-8`)
	require.Equal(t, `"{\"a\":\"caf\ufffd\"}"`, string(letters[0].Payload))
}

// Keys that are not UTF-8 name no records: those of different records would become the same text, and their
// dead letters one.
func TestRead_KeyNotUTF8(t *testing.T) {
	t.Parallel()
	path := write(t, "latin1.jsonl", []byte("{\"a\":\"\xe4\"}\n{\"a\":\"\xf6\"}\n"))
	flow := dataflow.NewFlow("latin1", jsonl.Open[map[string]string](path, &jsonl.Options{Key: "a"}), dataflow.Identity[map[string]string](),
		memory.ToFunc(func(context.Context, map[string]string) error { return nil }), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(2)})
	client := dataflowtest.New(t, flow).Client()
	_, err := client.Trigger(t.Context(), "latin1", nil)
	require.NoError(t, err)
	letters, err := client.DeadLetters(t.Context(), nil)
	require.NoError(t, err)
	keys := make([]string, len(letters))
	for i := range letters {
		keys[i] = letters[i].Key
	}
	require.ElementsMatch(t, []string{"line 1", "line 2"}, keys)
}
