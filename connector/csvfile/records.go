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
	// bufferSize is the number of bytes read from the file at once.
	bufferSize = 64 << 10
	// maxRawBytes limits the bytes kept of a record that is not valid CSV.
	maxRawBytes = 64 << 10
)

// records reads the records of a file from one place on. Most records are read by
// plain; csv reads the others, from the same buffer.
type records struct {
	f     *file
	in    *input
	buf   *bufio.Reader // of in
	plain *plainLines
	csv   *csv.Reader
	// at is the cursor after the last record.
	at Cursor
	// offset and lines are added to the counts of csv: its starting place and all
	// that plain has read.
	offset, lines int64
	csvLines      int64 // lines read by csv
	start         int64 // the offset in the file at which in begins
}

// newRecords reads from the byte start, on the line after the cursor at.
func newRecords(f *file, start int64, at Cursor) *records {
	in := &input{r: f.From(start)}
	buf := bufio.NewReaderSize(in, bufferSize)
	r := csv.NewReader(buf) // uses buf itself, because it is a bufio.Reader
	r.Comma, r.Comment = f.opts.Comma, f.opts.Comment
	r.TrimLeadingSpace = f.opts.trimLeading()
	r.FieldsPerRecord = -1 // the decoder compares it with the header
	r.ReuseRecord = true
	return &records{f: f, in: in, buf: buf, plain: newPlainLines(f.opts), csv: r, at: at, offset: start, lines: at.lines(), start: start}
}

// trimLeading reports whether space may precede a cell's opening quote. It is false
// if the separator itself is a space.
func (o *Options) trimLeading() bool { return o.TrimSpace && !unicode.IsSpace(o.Comma) }

// next returns the next record, valid until the next call, and moves at after it. A
// *RecordError concerns one record, and reading can continue. Any other error ends
// the read.
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
		return nil, r.f.permanent("the record after line %d has more than %d bytes: close an open quote, or raise MaxRecordBytes", before.lines(), r.f.opts.MaxRecordBytes)
	case !errors.As(err, &bad):
		return nil, r.f.wrap(fmt.Errorf("after line %d: %w", before.lines(), err))
	// A misplaced quote ends the record on its line. Only an open quote makes
	// encoding/csv ask for more bytes than the file has.
	case r.in.drained:
		open := int64(bad.StartLine)
		if len(cells) > 0 {
			open = r.lastLine(cells)
		}
		return nil, r.f.permanent("the quote that opens on line %d is never closed and takes in the rest of the file: close it", r.lines+open)
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

// nextPlain returns the next record, or nil if encoding/csv must read it.
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
		_, _ = r.buf.Discard(len(line)) // cannot fail: the line is in the buffer
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

// line peeks at the next line with its line break. It returns nil for a line that
// the buffer cannot hold, at the end, and after an error. The next read meets the
// error again.
func (r *records) line() []byte {
	for {
		b, _ := r.buf.Peek(r.buf.Buffered()) // cannot fail
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1]
		}
		if _, err := r.buf.Peek(len(b) + 1); err != nil {
			return nil
		}
	}
}

// inFile turns an offset in the input into one in the file. The file lacks the line
// break that input may add to the last line.
func (r *records) inFile(offset int64) int64 { return min(offset, r.start+r.in.served) }

// lastLine returns the line on which the last cell ends, as csv counts lines.
func (r *records) lastLine(cells []string) int64 {
	last := len(cells) - 1
	line, _ := r.csv.FieldPos(last)
	return int64(line) + int64(strings.Count(cells[last], "\n"))
}

// text returns a part of the file as a JSON string, or nil if it cannot be read.
func (r *records) text(from, to int64) json.RawMessage {
	b, err := r.f.Bytes(from, min(to, from+maxRawBytes))
	if err != nil {
		return nil // report the record's own error instead
	}
	return marshal(string(bytes.Trim(b, "\r\n")))
}

// errTooLong is returned by input for a record over the limit.
var errTooLong = errors.New("record is too long")

// input is the reader through which encoding/csv reads a file. It adds a line break
// to a last line without one, so that every line ends alike.
type input struct {
	r      io.Reader
	served int64 // bytes of the file, so far
	limit  int64 // the most that served may reach
	last   byte  // the last byte served
	ended  bool  // the file has no more bytes
	// drained is true once more bytes were requested than the file has.
	drained bool
}

// allow sets how many more bytes may be read.
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
		return n, nil // the next read meets an error again
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
