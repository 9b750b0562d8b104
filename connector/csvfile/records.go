package csvfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/activedataflow/dataflow"
)

const (
	// bufferSize is how much is read from the file at once.
	bufferSize = 64 << 10
	// maxRawBytes is how much is kept of a record that is not CSV.
	maxRawBytes = 64 << 10
)

// records reads the records of a file from one place on.
type records struct {
	f   *file
	in  *input
	buf *bufio.Reader // of in
	// Most records are read by plain; csv reads the others, from the same buffer.
	plain *plainLines
	csv   *csv.Reader
	// at is the place behind the last record.
	at Cursor
	// offset and lines are where csv begins to count: what plain has read is added.
	offset, lines int64
	csvLines      int64 // that csv has read
	start         int64 // the byte at which in begins
}

// newRecords reads on from the byte start, which is in the line behind at.
func newRecords(f *file, start int64, at Cursor) *records {
	in := &input{r: f.From(start)}
	buf := bufio.NewReaderSize(in, bufferSize)
	r := csv.NewReader(buf) // which takes a reader with such a buffer as it is
	r.Comma, r.Comment = f.opts.Comma, f.opts.Comment
	r.TrimLeadingSpace = f.opts.trimLeading()
	r.FieldsPerRecord = -1 // compared with the header by the decoder
	r.ReuseRecord = true
	return &records{f: f, in: in, buf: buf, plain: newPlainLines(f.opts), csv: r, at: at, offset: start, lines: at.lines(), start: start}
}

// trimLeading reports whether a cell's opening quote may have space in front of
// it. A separator that itself is space must not be taken for that.
func (o *Options) trimLeading() bool { return o.TrimSpace && !unicode.IsSpace(o.Comma) }

// next returns the next record, which is good until the following call, and
// moves at behind it. A *RecordError is of one record, and the next may be good;
// any other error is the last.
func (r *records) next() ([]string, error) {
	r.in.allow(r.f.opts.MaxRecordBytes)
	before := r.at
	r.f.Forget(before.Offset)
	if cells := r.nextPlain(); cells != nil {
		return cells, nil
	}
	cells, err := r.csv.Read()
	offset := r.inFile(r.offset + r.csv.InputOffset())
	if err == nil {
		line, _ := r.csv.FieldPos(0)
		r.csvLines = r.lastLine(cells)
		r.at = r.at.span(offset, r.lines+int64(line), r.lines+r.csvLines)
		return cells, nil
	}
	switch bad := (*csv.ParseError)(nil); {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, errTooLong):
		return nil, r.f.permanent("the record behind line %d has more than %d bytes: a quote may be open, or raise MaxRecordBytes", before.lines(), r.f.opts.MaxRecordBytes)
	case !errors.As(err, &bad):
		return nil, r.f.wrap(fmt.Errorf("behind line %d: %w", before.lines(), err))
	// A misplaced quote ends the record on its line. Only an open one makes
	// encoding/csv ask for more than there is.
	case r.in.drained:
		open := int64(bad.StartLine)
		if len(cells) > 0 {
			open = r.lastLine(cells)
		}
		return nil, r.f.permanent("the quote that opens on line %d is never closed: it takes in the rest of the file", r.lines+open)
	default:
		r.csvLines = int64(bad.Line)
		line := r.lines + r.csvLines
		r.at = r.at.span(offset, r.lines+int64(bad.StartLine), line)
		return nil, &dataflow.RecordError{
			Key: r.at.String(),
			Raw: r.text(before.Offset, offset),
			Err: fmt.Errorf("line %d, byte %d: %w", line, bad.Column, bad.Err),
		}
	}
}

// nextPlain returns the next record if it is a plain one, nil otherwise.
func (r *records) nextPlain() []string {
	for r.plain != nil {
		line := r.line()
		if line == nil {
			return nil
		}
		var cells []string
		skipped := r.plain.skipped(line)
		if !skipped {
			if cells = r.plain.split(line); cells == nil {
				return nil
			}
		}
		_, _ = r.buf.Discard(len(line)) // which is in the buffer
		r.offset += int64(len(line))
		r.lines++
		if !skipped {
			n := r.lines + r.csvLines
			r.at = r.at.span(r.inFile(r.offset+r.csv.InputOffset()), n, n)
			return cells
		}
	}
	return nil
}

// line returns the next line with its line break, and reads nothing of it. It returns
// nil for one that the buffer cannot hold, at the end, and after an error, which comes
// again.
func (r *records) line() []byte {
	for {
		b, _ := r.buf.Peek(r.buf.Buffered()) // which is there
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1]
		}
		if _, err := r.buf.Peek(len(b) + 1); err != nil {
			return nil
		}
	}
}

// inFile is a place of what was read as one of the file, which lacks the line break
// that input adds to its last line.
func (r *records) inFile(offset int64) int64 { return min(offset, r.start+r.in.served) }

// lastLine returns the line, as csv counts, on which the last cell ends.
func (r *records) lastLine(cells []string) int64 {
	last := len(cells) - 1
	line, _ := r.csv.FieldPos(last)
	return int64(line) + int64(strings.Count(cells[last], "\n"))
}

// text returns a part of the file as a JSON string, nil if it cannot be read.
func (r *records) text(from, to int64) json.RawMessage {
	b, err := r.f.Bytes(from, min(to, from+maxRawBytes))
	if err != nil {
		return nil // the record's own error is the one to report
	}
	return marshal(string(bytes.Trim(b, "\r\n")))
}

// errTooLong is returned by input for a record that is longer than allowed.
var errTooLong = errors.New("record is too long")

// input is what encoding/csv reads a file through. It adds a line break to a
// last line that has none, so that every line ends alike.
type input struct {
	r      io.Reader
	served int64 // bytes of the file
	limit  int64 // of served
	last   byte  // of the file, so far
	ended  bool  // nothing more will come of the file
	// drained is true when more was asked for than there is.
	drained bool
}

// allow sets how many bytes may be read until the next call.
func (in *input) allow(n int64) { in.limit = in.served + n }

func (in *input) Read(p []byte) (int, error) {
	switch {
	case in.ended:
		in.drained = true
		return 0, io.EOF
	case in.served > in.limit:
		return 0, errTooLong
	}
	n, err := in.r.Read(p)
	if n > 0 {
		in.served, in.last = in.served+int64(n), p[n-1]
		return n, nil // an error will come again
	}
	if !errors.Is(err, io.EOF) {
		return 0, err
	}
	in.ended = true
	if in.served > 0 && in.last != '\n' {
		p[0] = '\n'
		return 1, nil
	}
	in.drained = true
	return 0, io.EOF
}
