package jsonl_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// put writes a file that another program may still be writing.
func put(tb testing.TB, path string, data []byte) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(path, data, 0o600))
}

func readInts(tb testing.TB, src dataflow.Source[int, jsonl.Cursor], from jsonl.Cursor) (got []int, at jsonl.Cursor, bad int, last error) {
	tb.Helper()
	at = from
	for item, err := range src.Read(tb.Context(), dataflow.Request[jsonl.Cursor]{From: from, Resumed: from != jsonl.Cursor{}}) {
		var record *dataflow.RecordError
		switch {
		case err == nil:
			got, at = append(got, item.Value), item.Cursor
		case isRecord(err, &record):
			bad++
		default:
			last = err
		}
	}
	return got, at, bad, last
}

func isRecord(err error, into **dataflow.RecordError) bool {
	bad, ok := err.(*dataflow.RecordError) //nolint:errorlint // nothing may be wrapped around it
	*into = bad
	return ok
}

// A last line without its line break is read once it has one, or once the file has rested;
// never before, never in part, and never twice.
func TestPartial_Leave(t *testing.T) {
	t.Parallel()
	for form, encode := range map[string]func([]byte) []byte{"Plain": func(b []byte) []byte { return b }, "Gzip": compressed} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "n.jsonl")
			src := jsonl.Open[int](path, nil)
			put(t, path, encode([]byte("1\n45")))
			got, at, bad, err := readInts(t, src, jsonl.Cursor{})
			require.NoError(t, err)
			require.Equal(t, []int{1}, got)
			require.Zero(t, bad)

			put(t, path, encode([]byte("1\n456\n7")))
			got, at, bad, err = readInts(t, src, at)
			require.NoError(t, err)
			require.Equal(t, []int{456}, got)
			require.Zero(t, bad)

			rest(t, path)
			got, at, _, err = readInts(t, src, at)
			require.NoError(t, err)
			require.Equal(t, []int{7}, got)

			put(t, path, encode([]byte("1\n456\n7\n8\n")))
			got, _, _, err = readInts(t, src, at)
			require.NoError(t, err)
			require.Equal(t, []int{8}, got)
		})
	}
}

// A half object is left, and a whole one is read: nothing can follow it on its line.
func TestPartial_WholeValue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.jsonl")
	src := jsonl.Open[bird](path, nil)
	put(t, path, []byte("{\"seen\":1}\n{\"seen\":2,\"na"))
	texts, cursors, err := read(t, src, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"line 1: { 1 []}"}, texts)
	put(t, path, []byte("{\"seen\":1}\n{\"seen\":2,\"name\":\"b\"}"))
	texts, cursors, err = read(t, src, &cursors[0])
	require.NoError(t, err)
	require.Equal(t, []string{"line 2: {b 2 []}"}, texts)
	put(t, path, []byte("{\"seen\":1}\n{\"seen\":2,\"name\":\"b\"}\r\n{\"seen\":3}\r\n"))
	texts, _, err = read(t, src, &cursors[0])
	require.NoError(t, err)
	require.Equal(t, []string{"line 3: { 3 []}"}, texts)
}

// A gzip file that is being uploaded is read as far as it is there, wherever it ends.
func TestPartial_Gzip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.jsonl.gz")
	whole, want := []byte{}, []int{}
	for i := range 3 { // members, as of a program that appends batches
		var lines []byte
		for n := range 4 {
			want = append(want, 100*i+n)
			lines = strconv.AppendInt(lines, int64(100*i+n), 10)
			lines = append(lines, '\n')
		}
		whole = append(whole, compressed(lines)...)
	}
	src := jsonl.Open[int](path, nil)
	var all []int
	var at jsonl.Cursor
	for n := range whole {
		put(t, path, whole[:n+1])
		got, to, bad, err := readInts(t, src, at)
		require.NoError(t, err, "after %d bytes", n+1)
		require.Zero(t, bad, "after %d bytes", n+1)
		all, at = append(all, got...), to
	}
	require.Equal(t, want, all)
	put(t, path, whole[:len(whole)-5])
	rest(t, path)
	_, _, _, err := readInts(t, src, jsonl.Cursor{})
	require.ErrorContains(t, err, "unexpected EOF")
}

// A later file is read only after a file that may still be written: the cursor would pass
// what is missing.
func TestPartial_Glob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := filepath.Join(dir, "1.jsonl")
	put(t, first, []byte("1\n2"))
	put(t, filepath.Join(dir, "2.jsonl"), []byte("3\n"))
	src := jsonl.OpenGlob[int](filepath.Join(dir, "*.jsonl"), nil)
	got, at, _, err := readInts(t, src, jsonl.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1}, got)
	put(t, first, []byte("1\n22\n"))
	got, _, _, err = readInts(t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{22, 3}, got)

	put(t, first, []byte("1\n2"))
	got, _, _, err = readInts(t, jsonl.OpenGlob[int](filepath.Join(dir, "*.jsonl"), &jsonl.Options{Partial: jsonl.Take}), jsonl.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, got)
}

// A reader sees the pages of one write one by one. It must take no part of a line for a
// line, and read nothing after such a part.
func TestPartial_WhileAppending(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.jsonl")
	put(t, path, nil)
	const batches, lines = 60, 4000
	written := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		n := 1_000_000
		for range batches {
			var batch []byte
			for range lines {
				batch = strconv.AppendInt(batch, int64(n), 10)
				batch = append(batch, '\n')
				n++
			}
			if err == nil {
				_, err = f.Write(batch)
			}
		}
		written <- err
	}()
	src := jsonl.Open[int](path, nil)
	next, at, done := 1_000_000, jsonl.Cursor{}, false
	for !done {
		select {
		case err := <-written:
			require.NoError(t, err)
			done = true // after one more read
		default:
		}
		got, to, bad, err := readInts(t, src, at)
		require.NoError(t, err)
		require.Zero(t, bad)
		for _, n := range got {
			require.Equal(t, next, n)
			next++
		}
		at = to
	}
	require.Equal(t, 1_000_000+batches*lines, next)
}

// By option, a file that cannot be read counts as a bad record, and the others are read. As
// long as no later file has a record, the next run tries it again.
func TestSkipUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "1.jsonl"), []byte("1\n"))
	put(t, filepath.Join(dir, "2.jsonl"), []byte("\xFF\xFE1\x00"))
	put(t, filepath.Join(dir, "3.jsonl"), []byte("3\n"))
	require.NoError(t, os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "4.jsonl")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "0.jsonl"), 0o700)) // it is no file
	pattern := filepath.Join(dir, "*.jsonl")
	got, _, bad, err := readInts(t, jsonl.OpenGlob[int](pattern, nil), jsonl.Cursor{})
	require.ErrorContains(t, err, "2.jsonl: the file is encoded as UTF-16")
	require.Equal(t, []int{1}, got)
	require.Zero(t, bad)

	src := jsonl.OpenGlob[int](pattern, &jsonl.Options{SkipUnreadable: true})
	got, at, bad, err := readInts(t, src, jsonl.Cursor{})
	require.NoError(t, err)
	require.Equal(t, []int{1, 3}, got)
	require.Equal(t, 2, bad)

	require.NoError(t, os.Remove(filepath.Join(dir, "4.jsonl")))
	put(t, filepath.Join(dir, "4.jsonl"), []byte("4\n"))
	got, _, bad, err = readInts(t, src, at)
	require.NoError(t, err)
	require.Equal(t, []int{4}, got)
	require.Zero(t, bad)
}

func TestOptions_Partial(t *testing.T) {
	t.Parallel()
	for _, opts := range []jsonl.Options{{Partial: 7}, {Rest: -1}} {
		require.Error(t, jsonl.Open[int]("x", &opts).(dataflow.Validator).Validate())
	}
}

// A file that is cut or written anew while it is read ends the read with an error: the run was a success before, with
// a part of the lines, or with lines of both.
func TestRead_ReplacedWhileRead(t *testing.T) {
	t.Parallel()
	old := strings.Repeat(`{"a":"old"}`+"\n", 20_000)
	for now, text := range map[string]string{
		"{\"a\":\"new\"}\n":                   "the file has 12 bytes, but",
		strings.ReplaceAll(old, "old", "new"): "its first records were changed after they were read",
		old:                                   "",
	} {
		path := write(t, "a.jsonl", []byte(old))
		n := 0
		var last error
		for _, err := range jsonl.Open[map[string]string](path, nil).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
			if n++; n == 5000 {
				require.NoError(t, os.WriteFile(path, []byte(now), 0o600))
			}
			last = err
		}
		if text == "" {
			require.NoError(t, last)
			require.Equal(t, 20_000, n)
			continue
		}
		require.ErrorContains(t, last, text)
		require.True(t, dataflow.IsPermanent(last))
	}
}

// Space at the end of a file that was not written, or was lost in a crash, holds up no later file once the file has rested.
func TestPartial_Hole(t *testing.T) {
	t.Parallel()
	for _, hole := range []int{10, 300_000} {
		for after, want := range map[time.Duration][]int{0: {1}, -time.Hour: {1, 2}} {
			dir := t.TempDir()
			path := filepath.Join(dir, "1")
			put(t, path, []byte("1\n"+strings.Repeat("\x00", hole)))
			put(t, filepath.Join(dir, "2"), []byte("2\n"))
			at := time.Now().Add(after)
			require.NoError(t, os.Chtimes(path, at, at))
			got, _, bad, err := readInts(t, jsonl.OpenGlob[int](dir+"/*", &jsonl.Options{MaxLineBytes: 100_000}), jsonl.Cursor{})
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Zero(t, bad)
		}
	}
}
