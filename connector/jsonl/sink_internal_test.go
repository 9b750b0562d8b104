package jsonl

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

type row struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func numbered(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{N: i, Text: "<ü>\n" + strings.Repeat("x", i)}
	}
	return rows
}

func hugeRow() row { return row{Text: strings.Repeat("ostrich\n", 1<<17)} }

// readAll reads all rows of the files.
func readAll(t *testing.T, pattern string) []row {
	t.Helper()
	var rows []row
	for item, err := range OpenGlob[row](pattern, nil).Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
		rows = append(rows, item.Value)
	}
	return rows
}

func TestAppendTo_Contract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*SinkOptions{"out.jsonl": nil, "out.jsonl.gz": {}, "part.jsonl": {MaxFileBytes: 60}, "part.jsonl.gz": {MaxFileBytes: 100}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestFencedSink(t, connectortest.SinkConfig[dataflow.FencedSink[row], row]{
				Make: func(t *testing.T) (dataflow.FencedSink[row], func() []row) {
					t.Helper()
					path := filepath.Join(t.TempDir(), name)
					pattern := filepath.Join(filepath.Dir(path), strings.Replace(name, ".", "*.", 1))
					return newAppendSink[row](path, opts), func() []row { return readAll(t, pattern) }
				},
				Reopen: func(_ *testing.T, sink dataflow.FencedSink[row]) dataflow.FencedSink[row] {
					return newAppendSink[row](sink.(*appendSink[row]).files.Path, opts)
				},
				Rows: numbered,
				Huge: hugeRow,
			})
		})
	}
}

func TestWriteFiles_Contract(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[row], row]{
		Make: func(t *testing.T) (dataflow.Sink[row], func() []row) {
			t.Helper()
			dir := t.TempDir()
			return &filesSink[row]{dir: dir}, func() []row { return readAll(t, filepath.Join(dir, "*")) }
		},
		Failing: func(t *testing.T) dataflow.Sink[row] {
			t.Helper()
			file := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			return &filesSink[row]{dir: file} // a file is no directory
		},
		Rows: numbered,
		Huge: hugeRow,
	})
}

// A crash may leave any part of a batch after the file's committed length.
func TestAppendTo_TornLine(t *testing.T) {
	t.Parallel()
	rows := numbered(6)
	for _, torn := range []string{"{\"n\":2", "{\"n\":2,\"text\":\"\"}\n", "{\"n\":2,\"text\":\"\"}\n{\"n\"", "\x00\x00"} {
		t.Run(torn, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "out.jsonl")
			for i := range int64(3) {
				sink := newAppendSink[row](path, nil)
				_, err := sink.Claim(t.Context(), "f", i)
				require.NoError(t, err)
				require.Equal(t, rows[:2*i], append([]row{}, readAll(t, path)...), "the claim has cut off what was not committed")
				write(t, path, torn) // of an attempt whose write was interrupted
				require.NoError(t, sink.WriteFenced(t.Context(), dataflow.FencedBatch[row]{Flow: "f", Fence: i, State: []byte(`{}`), Rows: slices.Clone(rows[2*i : 2*i+2])}))
				require.Equal(t, rows[:2*i+2], readAll(t, path))
				write(t, path, torn) // part of a batch that was not committed
			}
		})
	}
}

// write appends text to a file, as a writer does that is then killed.
func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, errors.Join(err, f.Close()))
}

// Existing content stays if lines can be appended to it.
func TestAppendTo_Existing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, checkpoint, err string }{
		{name: "Lines", file: "{\"n\":-1}\n"},
		{name: "NoFinalNewline", file: "{\"n\":-1}", err: "its last line has no line break"},
		{name: "OtherFlow", file: "", checkpoint: `{"flow":"other","fence":1,"bytes":0}`, err: `the file belongs to the flow "other"`},
		{name: "Cut", file: "{}\n", checkpoint: `{"flow":"f","fence":1,"bytes":7}`, err: "has 3 bytes, but 7 were committed"},
		{name: "Gone", checkpoint: `{"flow":"f","fence":1,"bytes":7}`, err: "is gone, but 7 bytes of it were committed"},
		{name: "NoCheckpoint", checkpoint: `hello`, err: "is not a checkpoint of this library"},
		{name: "Rotated", checkpoint: `{"flow":"f","fence":1,"bytes":0,"part":2}`, err: "MaxFileBytes was set or unset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "out.jsonl")
			if tt.file != "" {
				write(t, path, tt.file)
			}
			if tt.checkpoint != "" {
				write(t, path+".checkpoint", tt.checkpoint)
			}
			sink := newAppendSink[row](path, nil)
			_, err := sink.Claim(t.Context(), "f", 3)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.ErrorContains(t, err, "file "+path+": ")
				return
			}
			require.NoError(t, err)
			require.NoError(t, sink.WriteFenced(t.Context(), dataflow.FencedBatch[row]{Flow: "f", Fence: 3, State: []byte(`{}`), Rows: []row{{N: 1}}}))
			require.Equal(t, []row{{N: -1}, {N: 1}}, readAll(t, path))
		})
	}
}

// A batch goes to the next file once the current one is full. A file that was
// started but not committed is removed.
func TestAppendTo_Rotates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := &SinkOptions{MaxFileBytes: 15}
	sink := newAppendSink[row](filepath.Join(dir, "out.jsonl"), opts)
	_, err := sink.Claim(t.Context(), "f", 1)
	require.NoError(t, err)
	for i := range 4 { // each is 18 bytes
		require.NoError(t, sink.WriteFenced(t.Context(), dataflow.FencedBatch[row]{Flow: "f", Fence: 1, State: []byte(`{}`), Rows: []row{{N: i}}}))
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, names, 4)
	require.Equal(t, filepath.Join(dir, "out-000001.jsonl"), names[0])
	write(t, filepath.Join(dir, "out-000005.jsonl"), "{\"n\":4")
	_, err = newAppendSink[row](filepath.Join(dir, "out.jsonl"), opts).Claim(t.Context(), "f", 2)
	require.NoError(t, err)
	require.Len(t, readAll(t, filepath.Join(dir, "*.jsonl")), 4)
}

func TestEncode_BadRow(t *testing.T) {
	t.Parallel()
	_, err := encode([]any{1, func() {}}, []string{"a", "b"}, nil)
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "b", bad.Key)
	_, err = encode([]any{func() {}}, nil, nil)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "1 of the batch", bad.Key)
}

func TestWriteFiles_BadID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "../x", "a/b"} {
		err := (&filesSink[row]{dir: t.TempDir()}).Write(t.Context(), dataflow.SinkBatch[row]{ID: id, Rows: numbered(1)})
		require.ErrorContains(t, err, "cannot be a file name")
	}
}

// A text that is not UTF-8, as csvfile reads one, is refused: a line must not have other characters.
func TestEncode_NotUTF8(t *testing.T) {
	t.Parallel()
	rows := []row{{N: 1, Text: "café"}, {N: 2, Text: "caf\xe9"}, {N: 3, Text: "\ufffd"}}
	var refused []int
	body, err := encode(rows, nil, func(i int, err error) error {
		require.ErrorContains(t, err, `the text "caf\xe9" of the field Text is not UTF-8`)
		refused = append(refused, i)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []int{1}, refused)
	path := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.WriteFile(path, body, 0o600))
	require.Equal(t, []row{rows[0], rows[2]}, readAll(t, path))
	_, err = encode(rows, nil, nil)
	var bad *dataflow.RowError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 1, bad.Row)
}
