package csvfile_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

func pairs(n int) []pair {
	rows := make([]pair, n)
	for i := range rows {
		rows[i] = pair{A: fmt.Sprintf("Åse %d", i), B: strings.Repeat("x\n\"", i%3)}
	}
	return rows
}

func hugePair() pair { return pair{A: "huge", B: strings.Repeat("€ \"\n", 1<<17)} }

// text returns the file of these records. If bad is a valid index, a bad record
// precedes that record.
func text(rows []pair, bad int) string {
	var b strings.Builder
	b.WriteString("a,b\n")
	for i := 0; i <= len(rows); i++ {
		if i == bad {
			b.WriteString("three,are,too many\n")
		}
		if i < len(rows) {
			fmt.Fprintf(&b, "\"%s\",\"%s\"\n", strings.ReplaceAll(rows[i].A, `"`, `""`), strings.ReplaceAll(rows[i].B, `"`, `""`))
		}
	}
	return b.String()
}

type source = dataflow.Source[pair, csvfile.Cursor]

func TestSource_Contract(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(t *testing.T, rows []pair, bad int) source{
		"Open": func(t *testing.T, rows []pair, bad int) source {
			t.Helper()
			return csvfile.Open[pair](write(t, text(rows, bad)), nil)
		},
		"Gzip": func(t *testing.T, rows []pair, bad int) source {
			t.Helper()
			return csvfile.Open[pair](write(t, compressed(text(rows, bad))), nil)
		},
		"Glob": func(t *testing.T, rows []pair, bad int) source {
			t.Helper()
			return csvfile.OpenGlob[pair](spread(t, rows, bad), nil)
		},
		"FS": func(t *testing.T, rows []pair, bad int) source {
			t.Helper()
			return csvfile.OpenFS[pair](os.DirFS(filepath.Dir(spread(t, rows, bad))), "*.csv", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSource(t, connectortest.SourceConfig[pair, csvfile.Cursor]{
				Make: func(t *testing.T, rows []pair) source {
					t.Helper()
					return of(t, rows, -1)
				},
				MakeBad: func(t *testing.T, rows []pair, at int) source {
					t.Helper()
					return of(t, rows, at)
				},
				Rows: pairs,
				Huge: hugePair,
				Open: func(src source) int { return openFiles(t, src) },
			})
		})
	}
}

func TestFrom_Contract(t *testing.T) {
	t.Parallel()
	type streamed = dataflow.Source[pair, dataflow.NoCursor]
	var open sync.Map // from a source to how many streams it has open
	of := func(text string) streamed {
		var n atomic.Int32
		src := csvfile.FromFunc[pair](func(context.Context) (io.ReadCloser, error) {
			n.Add(1)
			return closer{strings.NewReader(text), &n}, nil
		}, nil)
		open.Store(src, &n)
		return src
	}
	for name, config := range map[string]connectortest.SourceConfig[pair, dataflow.NoCursor]{
		"Func": {
			Make:    func(_ *testing.T, rows []pair) streamed { return of(text(rows, -1)) },
			MakeBad: func(_ *testing.T, rows []pair, at int) streamed { return of(compressed(text(rows, at))) },
			MakeFailing: func(_ *testing.T, rows []pair, at int) streamed {
				return csvfile.FromFunc[pair](func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(strings.NewReader(text(rows[:at], -1)), iotest.ErrReader(errors.New("it is cut")))), nil
				}, nil)
			},
			Open: func(src streamed) int {
				if n, ok := open.Load(src); ok {
					return int(n.(*atomic.Int32).Load())
				}
				return 0
			},
		},
		"Reader": {
			Make: func(_ *testing.T, rows []pair) streamed {
				return csvfile.From[pair](strings.NewReader(compressed(text(rows, -1))), nil)
			},
			MakeBad: func(_ *testing.T, rows []pair, at int) streamed {
				return csvfile.From[pair](strings.NewReader(text(rows, at)), nil)
			},
			ReadOnce: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config.Rows, config.Huge = pairs, hugePair
			connectortest.TestSource(t, config)
		})
	}
}

type closer struct {
	io.Reader
	open *atomic.Int32
}

func (c closer) Close() error {
	c.open.Add(-1)
	return nil
}

func compressed(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// spread writes the records to several files and returns their pattern. One file is
// empty and one is compressed.
func spread(t *testing.T, rows []pair, bad int) string {
	t.Helper()
	dir := t.TempDir()
	third, rest := len(rows)/3, -1
	if bad > third {
		rest = bad - third
	}
	for name, data := range map[string]string{
		"1.csv": strings.TrimRight(text(rows[:third], bad), "\n"),
		"2.csv": "",
		"3.csv": compressed(text(rows[third:], rest)),
		"4.txt": "none of them",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
		settle(t, filepath.Join(dir, name))
	}
	return filepath.Join(dir, "*.csv")
}

// openFiles counts the open descriptors of a source's file in this process.
func openFiles(t *testing.T, src any) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	detail := src.(dataflow.Describer).Describe().Detail
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
