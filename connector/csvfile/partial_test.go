package csvfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// put writes a file that another program may still be writing.
func put(tb testing.TB, path, text string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(path, []byte(text), 0o600))
}

// A file is read while it grows, byte by byte. No record is read in part, twice or never,
// wherever the file ended, and no read fails.
func TestPartial_EveryByte(t *testing.T) {
	t.Parallel()
	const whole = "\xEF\xBB\xBFa,b\r\n1,100\r\n2,10000\n\"x\r\ny\",\"\"\"z\"\"\"\n\n,\n\"3\",4\n"
	want := []string{"line 2: 1|100", "line 3: 2|10000", "line 4: x\r\ny|\"z\"", "line 7: |", "line 8: 3|4"}
	for form, encode := range map[string]func(string) string{"Plain": func(s string) string { return s }, "Gzip": compressed} {
		for _, opts := range []*csvfile.Options{nil, {LazyQuotes: true}} {
			t.Run(fmt.Sprint(form, opts != nil), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "n.csv")
				src := csvfile.Open[pair](path, opts)
				var all []string
				var at *csvfile.Cursor
				for n := range len(whole) {
					put(t, path, encode(whole[:n+1]))
					got, err := read(t, src, at)
					require.NoError(t, err, "after %d bytes", n+1)
					require.Equal(t, len(got), count(t, src, at))
					all = append(all, texts(got)...)
					if len(got) > 0 {
						at = &got[len(got)-1].Cursor
					}
				}
				require.Equal(t, want, all)
			})
		}
	}
}

// A file that has rested is read to its end. A quote that is still open then is an error.
func TestPartial_Rested(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.csv")
	src := csvfile.Open[pair](path, nil)
	for text, want := range map[string][]string{"a,b\n1,2\n3,4": {"line 2: 1|2", "line 3: 3|4"}, "a,b\n1,2\n\"3,4\n": {"line 2: 1|2"}} {
		put(t, path, text)
		got, err := read(t, src, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"line 2: 1|2"}, texts(got))
		settle(t, path)
		got, err = read(t, src, nil)
		require.Equal(t, want, texts(got))
		if len(want) == 1 {
			require.ErrorContains(t, err, "the quote that opens on line 3 is never closed")
		} else {
			require.NoError(t, err)
		}
	}
	put(t, path, "a,b\n1,2\n3,4")
	got, err := read(t, csvfile.Open[pair](path, &csvfile.Options{Partial: csvfile.Take}), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"line 2: 1|2", "line 3: 3|4"}, texts(got))
}

// A later file is read only after a file that may still be written, header included.
func TestPartial_Glob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, pattern := filepath.Join(dir, "1.csv"), filepath.Join(dir, "*.csv")
	put(t, filepath.Join(dir, "2.csv"), "a,b\n5,6\n")
	src := csvfile.OpenGlob[pair](pattern, nil)
	for _, half := range []string{"a,", "a,b"} {
		put(t, first, half)
		got, err := read(t, src, nil)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	put(t, first, "a,b\n1,2\n3,44")
	got, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, got, 1)
	put(t, first, "a,b\n1,2\n3,4444\n")
	got, err = read(t, src, &got[0].Cursor)
	require.NoError(t, err)
	require.Equal(t, []string{first + " line 3: 3|4444", filepath.Join(dir, "2.csv") + " line 2: 5|6"}, texts(got))
}

// A gzip file that is being uploaded is read as far as it is there.
func TestPartial_Gzip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.csv.gz")
	var text strings.Builder
	text.WriteString("a,b\n")
	for i := range 30_000 {
		fmt.Fprintf(&text, "%d,%d\n", i, i*7919%10007)
	}
	whole := compressed(text.String())
	src := csvfile.Open[pair](path, nil)
	n, at := 0, (*csvfile.Cursor)(nil)
	for _, size := range []int{1, 5, 12, len(whole) / 3, len(whole) / 2, len(whole) - 9, len(whole) - 1, len(whole)} {
		put(t, path, whole[:size])
		got, err := read(t, src, at)
		require.NoError(t, err, "after %d of %d bytes", size, len(whole))
		for i := range got {
			require.Equal(t, pair{fmt.Sprint(n), fmt.Sprint(n * 7919 % 10007)}, got[i].Value)
			n++
			at = &got[i].Cursor
		}
	}
	require.Equal(t, 30_000, n)
}

// A reader sees the pages of one write one by one.
func TestPartial_WhileAppending(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.csv")
	put(t, path, "a,b\n")
	const batches, lines = 40, 3000
	written := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		for b := range batches {
			var batch strings.Builder
			for n := range lines {
				fmt.Fprintf(&batch, "%d,%d\n", b*lines+n, (b*lines+n)*7)
			}
			if err == nil {
				_, err = f.WriteString(batch.String())
			}
		}
		written <- err
	}()
	src := csvfile.Open[pair](path, nil)
	n, at, done := 0, (*csvfile.Cursor)(nil), false
	for !done {
		select {
		case err := <-written:
			require.NoError(t, err)
			done = true // after one more read
		default:
		}
		got, err := read(t, src, at)
		require.NoError(t, err)
		for i := range got {
			if want := (pair{fmt.Sprint(n), fmt.Sprint(n * 7)}); got[i].Value != want || got[i].Err != "" {
				require.Equal(t, want, got[i])
			}
			n++
			at = &got[i].Cursor
		}
	}
	require.Equal(t, batches*lines, n)
}

func TestSkipUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "1.csv"), "a,b\n1,2\n")
	put(t, filepath.Join(dir, "2.csv"), "a,c\n3,4\n")
	require.NoError(t, os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "3.csv")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "0.csv"), 0o700)) // it is no file
	put(t, filepath.Join(dir, "4.csv"), "a,b\n5,6\n")
	pattern := filepath.Join(dir, "*.csv")
	_, err := read(t, csvfile.OpenGlob[pair](pattern, nil), nil)
	require.ErrorContains(t, err, "2.csv: the header has no column")
	src := csvfile.OpenGlob[pair](pattern, &csvfile.Options{SkipUnreadable: true})
	var good, bad []string
	for item, err := range src.Read(t.Context(), request(nil)) {
		if err != nil {
			bad = append(bad, err.Error())
			require.False(t, item.Resume)
			continue
		}
		good = append(good, item.Value.A)
	}
	require.Equal(t, []string{"1", "5"}, good)
	require.Len(t, bad, 2)
	require.Contains(t, bad[0], filepath.Join(dir, "2.csv"))
	require.Contains(t, bad[1], "no such file")
}

// A file whose time is far in the future is not being written: a copy has kept its time. A nearer time may be
// that of a server whose clock is ahead.
func TestPartial_FutureTime(t *testing.T) {
	t.Parallel()
	for form, text := range map[string]string{"Plain": "a,b\n1,2\n3,4", "Gzip": compressed("a,b\n1,2\n3,4")} {
		path := filepath.Join(t.TempDir(), "n.csv")
		put(t, path, text)
		for after, want := range map[time.Duration][]string{48 * time.Hour: {"line 2: 1|2", "line 3: 3|4"}, 2 * time.Hour: {"line 2: 1|2"}, 30 * time.Second: {"line 2: 1|2"}} {
			at := time.Now().Add(after)
			require.NoError(t, os.Chtimes(path, at, at))
			got, err := read(t, csvfile.Open[pair](path, nil), nil)
			require.NoError(t, err)
			require.Equal(t, want, texts(got), "%s %s", form, after)
		}
	}
}

// A file that is cut or written anew while it is read ends the read with an error.
func TestRead_ReplacedWhileRead(t *testing.T) {
	t.Parallel()
	type row struct{ A string }
	old := "a\n" + strings.Repeat("old\n", 50_000)
	for now, text := range map[string]string{
		"a\nnew\n":                            "the file has 6 bytes, but",
		strings.ReplaceAll(old, "old", "new"): "its first records were changed after they were read",
		old:                                   "",
	} {
		path := write(t, old)
		n := 0
		var last error
		for _, err := range csvfile.Open[row](path, nil).Read(t.Context(), dataflow.Request[csvfile.Cursor]{}) {
			if n++; n == 5000 {
				require.NoError(t, os.WriteFile(path, []byte(now), 0o600))
			}
			last = err
		}
		if text == "" {
			require.NoError(t, last)
			require.Equal(t, 50_000, n)
			continue
		}
		require.ErrorContains(t, last, text)
		require.True(t, dataflow.IsPermanent(last))
	}
}

// Space at the end of a file that was not written yet is no record, however much there is: Windows sets the length of a file on
// a server before it copies the text. In a file that has rested, it holds up no later file.
func TestPartial_Hole(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	for hole, old := range map[int]bool{10: false, 3 * limit: true, 5*limit + 7: false} {
		for text, whole := range map[string]bool{"": false, "a,b\n1,2\n": true, "a,b\n1,2\n3": false} {
			dir := t.TempDir()
			path := filepath.Join(dir, "1.csv")
			put(t, path, text+strings.Repeat("\x00", hole))
			put(t, filepath.Join(dir, "2.csv"), "a,b\n5,6\n")
			if old {
				at := time.Now().Add(-time.Hour)
				require.NoError(t, os.Chtimes(path, at, at))
			}
			want := []string{}
			if len(text) > 5 {
				want = append(want, "1")
			}
			if old && (whole || text == "") {
				want = append(want, "5")
			}
			got := []string{}
			var last error
			for item, err := range csvfile.OpenGlob[pair](filepath.Join(dir, "*"), &csvfile.Options{MaxRecordBytes: limit}).Read(t.Context(), request(nil)) {
				if last = err; err == nil {
					got = append(got, item.Value.A)
				}
			}
			require.Equal(t, want, got, "%q and %d", text, hole)
			if old && !whole && text != "" {
				require.ErrorContains(t, last, "has more than 100000 bytes")
			} else {
				require.NoError(t, last, "%q and %d", text, hole)
			}
			put(t, path, "a,b\n1,2\n3,4\n"+strings.Repeat("7,8\n", 10)) // it is whole now
			rows, err := read(t, csvfile.Open[pair](path, nil), nil)
			require.NoError(t, err)
			require.Len(t, rows, 12)
		}
	}
}
