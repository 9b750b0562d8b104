package csvfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/files"
)

// manyRecords are used by two tests.
var manyRecords = []string{
	"", "\n", "a", "a,b", "a,b\n", "a,b\r\n", "a,b\r", "\r", "\r\n\r\n", "a\r\r\n", ",\n,,\n", "a;b\tc\n",
	"\"a\"\n", "\"a\",b\n", "a,\"b,c\",d\r\n", "\"\"\n", "\"\",\"\"\n", "\"a\"\"b\",\"\"\"\"\n", "\"a\r\"\r\n", "\"a\"\r",
	"\"a\nb\",c\nd\n", "a,\"b\n\nc\"\n\nd,e\n", "\"a\r\nb\"\r\n", "x\n\"a\"\"\n\"\"b\"\ny\n", "\"a\",\"b\nc\",d\n\"e\"\n",
	"a\"b\nc\n", "\"a\"b\nc\n", "\"a\"\"b\nc\"d\ne\n", "a,b\n\"c\" ,d\ne,f\n", " \"a\"\n", "\"a\nb\n", "\"", "x,\"", "\"a\"\"", "a\n\n\"b\nc\"x\n\n\nd\n",
	"#c\na\n", "#c", "a\n#\"\nb\n", "\"#\"\n", "#\n\n#\n", " #a\n", "§,ö\n\xff,\x00\n", "a§b\n",
}

// requireSameRecords reads a file with the source and with encoding/csv alone, and
// compares the results.
func requireSameRecords(t *testing.T, text []byte, opts *Options) {
	t.Helper()
	filled := opts.withDefaults()
	place := files.Reader(bytes.NewReader(text))
	opened, err := place.Open(t.Context(), "")
	if err != nil {
		return // the text begins like a gzip file
	}
	got := newRecords(&file{File: opened, opts: &filled}, 0, Cursor{})
	size := int64(len(text))
	// The last line may lack its line break; encoding/csv would keep a "\r" before it.
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(slices.Clone(text), '\n')
	}
	want := csv.NewReader(bytes.NewReader(text))
	want.Comma, want.Comment, want.FieldsPerRecord, want.TrimLeadingSpace = filled.Comma, filled.Comment, -1, filled.trimLeading()
	for {
		cells, err := got.next()
		wantCells, wantErr := want.Read()
		var bad *dataflow.RecordError
		if wantErr == nil {
			require.NoError(t, err)
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "\r\n", "\n") // as encoding/csv changes it
			}
			require.Equal(t, wantCells, cells)
			line, _ := want.FieldPos(0)
			require.Equal(t, int64(line), got.at.Line)
			require.Equal(t, min(want.InputOffset(), size), got.at.Offset)
			last, _ := want.FieldPos(len(wantCells) - 1)
			require.Equal(t, int64(last+strings.Count(wantCells[len(wantCells)-1], "\n")), got.at.lines())
			continue
		}
		if errors.Is(wantErr, io.EOF) {
			require.Equal(t, io.EOF, err)
			return
		}
		if !errors.As(err, &bad) {
			require.ErrorContains(t, err, "is never closed")
			require.Equal(t, int64(len(text)), want.InputOffset())
			return
		}
		var wantBad *csv.ParseError
		require.ErrorAs(t, wantErr, &wantBad)
		require.ErrorIs(t, bad, wantBad.Err)
		require.Equal(t, int64(wantBad.StartLine), got.at.Line)
		require.Equal(t, int64(wantBad.Line), got.at.lines())
		require.Equal(t, min(want.InputOffset(), size), got.at.Offset)
	}
}

func TestRecords_SameAsEncodingCSV(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x,", bufferSize/2)
	for _, opts := range []*Options{nil, {Comma: ';', Comment: '#'}, {Comma: '§'}, {TrimSpace: true}, {Comma: '\t', Comment: '§'}} {
		for i, text := range manyRecords {
			requireSameRecords(t, []byte(text), opts)
			requireSameRecords(t, []byte(text+"\n"+manyRecords[(i+7)%len(manyRecords)]), opts)
			if !dbtest.Part(text, 4) {
				continue
			}
			requireSameRecords(t, []byte(long[:bufferSize-i]+text+"\n"+text), opts) // longer than the buffer
			requireSameRecords(t, []byte(long+long+"\n"+text), opts)
		}
	}
}

// FuzzRecords requires the same records and errors as encoding/csv, but of lines that begin with
// NUL bytes: see errHole.
func FuzzRecords(f *testing.F) {
	for i, text := range manyRecords {
		f.Add([]byte(text), i%3 == 0, byte(i%4))
	}
	f.Fuzz(func(t *testing.T, text []byte, comment bool, comma byte) {
		if bytes.Contains(append([]byte{'\n'}, text...), []byte("\n\x00")) {
			return
		}
		opts := &Options{Comma: []rune{',', ';', '§', '\t'}[comma%4]}
		if comment {
			opts.Comment = '#'
		}
		requireSameRecords(t, text, opts)
	})
}
