package jsonl_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// bird is the record of most tests.
type bird struct {
	Name string   `json:"name"`
	Seen int      `json:"seen"`
	Tags []string `json:"tags,omitempty"`
}

func birds(n int) []bird {
	rows := make([]bird, n)
	for i := range rows {
		rows[i] = bird{Name: fmt.Sprintf("Åse \"%d\"\n", i), Seen: i}
		if i%3 == 0 {
			rows[i].Tags = []string{"a", "<b>"}
		}
	}
	return rows
}

func hugeBird() bird { return bird{Name: strings.Repeat("ostrich\n", 1<<17)} }

// lines returns the file of these records. If bad is a valid index, a line that is
// not JSON precedes that record.
func lines(rows []bird, bad int) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := 0; i <= len(rows); i++ {
		if i == bad {
			b.WriteString("{\"name\": \n")
		}
		if i < len(rows) {
			_ = enc.Encode(rows[i])
		}
	}
	return b.Bytes()
}

func compressed(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

type source = dataflow.Source[bird, jsonl.Cursor]

func TestSource_Contract(t *testing.T) {
	t.Parallel()
	var counted sync.Map // from a source to its countingFS
	for name, of := range map[string]func(t *testing.T, rows []bird, bad int) source{
		"Open": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			return jsonl.Open[bird](write(t, "data.jsonl", lines(rows, bad)), nil)
		},
		"Gzip": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			return jsonl.Open[bird](write(t, "data.jsonl.gz", compressed(lines(rows, bad))), nil)
		},
		"NoFinalNewline": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			return jsonl.Open[bird](write(t, "data.jsonl", bytes.TrimRight(lines(rows, bad), "\n")), &jsonl.Options{Strict: true})
		},
		"Glob": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			return jsonl.OpenGlob[bird](spread(t, rows, bad), nil)
		},
		"FS": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			return jsonl.OpenFS[bird](os.DirFS(filepath.Dir(spread(t, rows, bad))), "*.jsonl*", nil)
		},
		"FSWithoutReaderAt": func(t *testing.T, rows []bird, bad int) source {
			t.Helper()
			fsys := &countingFS{files: fstest.MapFS{
				"1.jsonl":    {Data: append([]byte("\xEF\xBB\xBF\n"), lines(rows, bad)...)},
				"2.jsonl.gz": {Data: compressed(nil)},
			}}
			src := jsonl.OpenFS[bird](fsys, "*.jsonl*", nil)
			counted.Store(src, fsys)
			return src
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSource(t, connectortest.SourceConfig[bird, jsonl.Cursor]{
				Make: func(t *testing.T, rows []bird) source {
					t.Helper()
					return of(t, rows, -1)
				},
				MakeBad: func(t *testing.T, rows []bird, at int) source {
					t.Helper()
					return of(t, rows, at)
				},
				Rows: birds,
				Huge: hugeBird,
				Open: func(src source) int {
					if fsys, ok := counted.Load(src); ok {
						return int(fsys.(*countingFS).open.Load())
					}
					return openFiles(t, src)
				},
			})
		})
	}
}

// spread writes the records to several files and returns their pattern. One file is
// empty, one is compressed, and one has no line break at its end.
func spread(t *testing.T, rows []bird, bad int) string {
	t.Helper()
	dir := t.TempDir()
	third := len(rows) / 3
	put := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	put("1.jsonl", bytes.TrimRight(lines(rows[:third], bad), "\n"))
	put("2.jsonl", nil)
	rest := -1
	if bad > third {
		rest = bad - third
	}
	put("3.jsonl.gz", compressed(lines(rows[third:], rest)))
	put("4.txt", []byte("none of them"))
	return filepath.Join(dir, "*.jsonl*")
}

// countingFS counts its open files. They can be read only in sequence.
type countingFS struct {
	files fstest.MapFS
	open  atomic.Int32
}

func (c *countingFS) Open(name string) (fs.File, error) {
	f, err := c.files.Open(name)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &countingFile{File: f, fs: c}, nil
}

func (c *countingFS) Glob(pattern string) ([]string, error) { return fs.Glob(c.files, pattern) }

type countingFile struct {
	fs.File
	fs *countingFS
}

func (f *countingFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func TestFrom_Contract(t *testing.T) {
	t.Parallel()
	type streamed = dataflow.Source[bird, dataflow.NoCursor]
	var counted sync.Map // from a source to its countingFS
	of := func(data []byte) streamed {
		fsys := &countingFS{files: fstest.MapFS{"a": {Data: data}}}
		src := jsonl.FromFunc[bird](func(context.Context) (io.ReadCloser, error) { return fsys.Open("a") }, nil)
		counted.Store(src, fsys)
		return src
	}
	for name, config := range map[string]connectortest.SourceConfig[bird, dataflow.NoCursor]{
		"Func": {
			Make:    func(_ *testing.T, rows []bird) streamed { return of(lines(rows, -1)) },
			MakeBad: func(_ *testing.T, rows []bird, at int) streamed { return of(lines(rows, at)) },
			MakeFailing: func(_ *testing.T, rows []bird, at int) streamed {
				return jsonl.FromFunc[bird](func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(bytes.NewReader(lines(rows[:at], -1)), iotest.ErrReader(errors.New("it is cut")))), nil
				}, nil)
			},
		},
		"Reader": {
			Make: func(_ *testing.T, rows []bird) streamed {
				return jsonl.From[bird](bytes.NewReader(compressed(lines(rows, -1))), nil)
			},
			MakeBad: func(_ *testing.T, rows []bird, at int) streamed {
				return jsonl.From[bird](bytes.NewReader(lines(rows, at)), nil)
			},
			ReadOnce: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config.Rows, config.Huge = birds, hugeBird
			config.Open = func(src streamed) int {
				if fsys, ok := counted.Load(src); ok {
					return int(fsys.(*countingFS).open.Load())
				}
				return 0 // the caller closes the reader
			}
			connectortest.TestSource(t, config)
		})
	}
}

// write creates a file that is removed after the test.
func write(tb testing.TB, name string, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	require.NoError(tb, os.WriteFile(path, data, 0o600))
	rest(tb, path)
	return path
}

// openFiles counts the open descriptors of a source's file in this process.
func openFiles(t *testing.T, src any) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	detail := src.(dataflow.Describer).Describe().Detail //nolint:forcetypeassert // each source is one
	path, _ := detail["path"].(string)
	if pattern, ok := detail["pattern"].(string); ok {
		path = filepath.Dir(pattern)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	open := 0
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && filepath.IsAbs(path) && strings.HasPrefix(to, path) {
			open++
		}
	}
	return open
}

// rest makes a file look as if nothing had written to it for an hour.
func rest(tb testing.TB, path string) {
	tb.Helper()
	long := time.Now().Add(-time.Hour)
	require.NoError(tb, os.Chtimes(path, long, long))
}
