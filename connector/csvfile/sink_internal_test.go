package csvfile

import (
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

type row struct {
	N    int    `csv:"'the, n'"`
	Text string `csv:"text"`
}

func numbered(n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{N: i, Text: "# \"ü\",\n" + strings.Repeat("x", i)}
	}
	return rows
}

func hugeRow() row { return row{Text: strings.Repeat("ostrich\n", 1<<17)} }

// readAll reads all records of the files.
func readAll[T any](t *testing.T, pattern string) []T {
	t.Helper()
	var rows []T
	for item, err := range OpenGlob[T](pattern, nil).Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
		rows = append(rows, item.Value)
	}
	return rows
}

func TestAppendTo_Contract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]*SinkOptions{"out.csv": nil, "out.csv.gz": {}, "part.csv": {MaxFileBytes: 60}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestFencedSink(t, connectortest.SinkConfig[dataflow.FencedSink[row], row]{
				Make: func(t *testing.T) (dataflow.FencedSink[row], func() []row) {
					t.Helper()
					path := filepath.Join(t.TempDir(), name)
					pattern := filepath.Join(filepath.Dir(path), strings.Replace(name, ".", "*.", 1))
					return newAppendSink[row](path, opts), func() []row { return readAll[row](t, pattern) }
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
			return newFilesSink[row](dir, nil), func() []row { return readAll[row](t, filepath.Join(dir, "*")) }
		},
		Failing: func(t *testing.T) dataflow.Sink[row] {
			t.Helper()
			file := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			return newFilesSink[row](file, nil) // a file is no directory
		},
		Rows: numbered,
		Huge: hugeRow,
	})
}

// The header is written once, whatever a crash left of the first batch.
func TestAppendTo_Header(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.csv")
	for i, torn := range []string{"\"the, n\",te", "\"the, n\",text\n", "\"the, n\",text\n1,\"", "\"the, n\",text\n1,2\n"} {
		require.NoError(t, os.RemoveAll(path))
		sink := newAppendSink[row](path, nil)
		_, err := sink.Claim(t.Context(), "f", int64(i))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte(torn), 0o600)) // part of a batch that was not committed
		_, err = sink.Claim(t.Context(), "f", int64(i))
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, data)
	}
	sink := newAppendSink[row](path, nil)
	_, err := sink.Claim(t.Context(), "f", 9)
	require.NoError(t, err)
	for i := range 2 {
		require.NoError(t, sink.WriteFenced(t.Context(), dataflow.FencedBatch[row]{Flow: "f", Fence: 9, State: []byte(`{}`), Rows: []row{{N: i}}}))
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "\"the, n\",text\n0,\n1,\n", string(data))

	_, err = newAppendSink[struct{ Other int }](path, nil).Claim(t.Context(), "f", 10)
	require.ErrorContains(t, err, `does not begin with the header "Other"`)
}

// Records are not appended below a header of other columns, or of another order, in a compressed file either.
func TestAppendTo_HeaderCompressed(t *testing.T) {
	t.Parallel()
	type turned struct{ B, A string }
	path := filepath.Join(t.TempDir(), "out.csv.gz")
	sink := newAppendSink[struct{ A, B string }](path, nil)
	for i := range int64(2) { // the second time, the file is there
		_, err := sink.Claim(t.Context(), "f", i)
		require.NoError(t, err)
		require.NoError(t, sink.WriteFenced(t.Context(), dataflow.FencedBatch[struct{ A, B string }]{Flow: "f", Fence: i, State: []byte(`{}`), Rows: make([]struct{ A, B string }, 2)}))
	}
	_, err := newAppendSink[turned](path, nil).Claim(t.Context(), "f", 3)
	require.ErrorContains(t, err, `does not begin with the header "B,A"`)
	_, err = newAppendSink[struct{ A, B, C string }](path, nil).Claim(t.Context(), "f", 3)
	require.ErrorContains(t, err, `does not begin with the header "A,B,C"`)

	plain := filepath.Join(t.TempDir(), "plain.csv.gz")
	require.NoError(t, os.WriteFile(plain, []byte("B,A\n1,2\n3,4\n"), 0o600))
	_, err = newAppendSink[turned](plain, nil).Claim(t.Context(), "f", 1)
	require.ErrorContains(t, err, "is not compressed by gzip")
}

// all has a field of every kind that can be written.
type all struct {
	OK    bool
	I8    int8
	U64   uint64
	F32   float32
	F64   *float64
	Took  time.Duration
	At    time.Time
	Day   time.Time  `csv:"the day,layout=Jan 2, 2006"`
	Until *time.Time `csv:"until"`
	Addr  netip.Addr
	Big   *big.Int
	Note  *string
	inner
}

type inner struct{ Name string }

func TestEncode_RoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.March, 4, 5, 6, 7, 890, time.UTC)
	f, note := 0.1, "a;b"
	big, ok := new(big.Int).SetString("123456789012345678901234567890", 10)
	require.True(t, ok)
	rows := []all{
		{OK: true, I8: -128, U64: 1 << 63, F32: 1.1, F64: &f, Took: time.Second, At: at, Day: at.Truncate(24 * time.Hour), Until: &at, Addr: netip.MustParseAddr("::1"), Big: big, Note: &note, inner: inner{"x"}},
		{At: at, Day: at.Truncate(24 * time.Hour), inner: inner{" "}},
	}
	e := newEncoder(reflect.TypeFor[all](), &SinkOptions{Comma: ';', Null: "NULL"})
	require.NoError(t, e.validate())
	data, err := encodeRows(e, e.header(), rows, nil, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "a.csv")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	var got []all
	for item, err := range Open[all](path, &Options{Comma: ';', Null: []string{"NULL"}}).Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
		got = append(got, item.Value)
	}
	require.Equal(t, rows, got)
}

// A time is written as the moment that it is, also in a zone whose offset has seconds.
func TestEncode_OffsetWithSeconds(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	type row struct {
		At   time.Time
		Text time.Time `csv:"text,layout=2006-01-02 15:04:05 -0700"`
		Wall time.Time `csv:"wall,layout=2006-01-02 15:04:05"`
	}
	at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).In(berlin)
	e := newEncoder(reflect.TypeFor[row](), nil)
	data, err := encodeRows(e, nil, []row{{at, at, at}, {at.AddDate(2000, 0, 0), at.AddDate(2000, 0, 0), at}}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "0001-01-01T00:00:00Z,0001-01-01 00:00:00 +0000,0001-01-01 00:53:28\n2001-01-01T00:53:28+01:00,2001-01-01 00:53:28 +0100,0001-01-01 00:53:28\n", string(data))
}

// FuzzEncode requires that any text is read as it was written.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{"", " ", "#", "a,b", "\"", "\n", "\r", "x\r\ny", "\uFEFF", "\\.", "\x00\xff", "é, \"\n"} {
		f.Add(text, "")
		f.Add("x", text)
	}
	type one struct{ A string }
	type two struct{ A, B string }
	f.Fuzz(func(t *testing.T, a, b string) {
		check := func(data []byte, want any, read func(string) any) {
			path := filepath.Join(t.TempDir(), "a.csv")
			require.NoError(t, os.WriteFile(path, data, 0o600))
			require.Equal(t, want, read(path))
		}
		e1, e2 := newEncoder(reflect.TypeFor[one](), nil), newEncoder(reflect.TypeFor[two](), nil)
		data, err := encodeRows(e1, e1.header(), []one{{a}, {b}}, nil, nil)
		require.NoError(t, err)
		check(data, []one{{a}, {b}}, func(path string) any { return readAll[one](t, path) })
		data, err = encodeRows(e2, e2.header(), []two{{a, b}, {b, a}}, nil, nil)
		require.NoError(t, err)
		check(data, []two{{a, b}, {b, a}}, func(path string) any { return readAll[two](t, path) })
	})
}

func TestSink_Validate(t *testing.T) {
	t.Parallel()
	for want, part := range map[string]dataflow.Validator{
		"Path: it is empty: give the path of the file to write":                                         newAppendSink[row]("", nil),
		"Dir: it is empty: give the directory to write to":                                              newFilesSink[row]("", nil),
		"MaxFileBytes: -1 is negative: use 1 or more, or 0 for one file":                                newAppendSink[row]("a", &SinkOptions{MaxFileBytes: -1}),
		"T.A: it has no MarshalText, and so cannot be written: add one to its type":                     newAppendSink[struct{ A readable }]("a", nil),
		`Comma: '"' cannot separate cells: use a character that is neither a quote nor a line break`:    newAppendSink[row]("a", &SinkOptions{Comma: '"'}),
		`TimeLayout: "YYYY" has no part of a time: write the moment 2006-01-02 15:04:05 in your layout`: newAppendSink[row]("a", &SinkOptions{TimeLayout: "YYYY"}),
		"T: struct {} has no exported field to read a column into: add one":                             newFilesSink[struct{}]("a", nil),
	} {
		require.EqualError(t, part.Validate(), want)
	}
}

type readable struct{ text string }

func (r *readable) UnmarshalText(text []byte) error { r.text = string(text); return nil }

// Postgres reads null from a cell without quotes alone. So a text that is the one of null is in quotes.
func TestEncoder_NullText(t *testing.T) {
	t.Parallel()
	type row struct {
		A *string
		B string
	}
	for null, want := range map[string]string{"": ",\n\"\",\nNULL,NULL\n", "NULL": "NULL,\n,\n\"NULL\",\"NULL\"\n"} {
		empty, text := "", "NULL"
		out, err := encodeRows(newEncoder(reflect.TypeFor[row](), &SinkOptions{Null: null}), nil, []row{{}, {A: &empty}, {A: &text, B: text}}, nil, nil)
		require.NoError(t, err)
		require.Equal(t, want, string(out))
	}
}
