package csvfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

const (
	// bufferSize is the number of bytes read from the file at once.
	bufferSize = 64 << 10
	// maxRawBytes limits the bytes kept of a record that is not valid CSV.
	maxRawBytes = 64 << 10
)

// records reads the records of a file from one place on. Most records are split by plain;
// scan splits the others.
type records struct {
	f     *file
	buf   *bufio.Reader
	plain *plainLines
	scan  scanner
	// at is the cursor after the last record.
	at Cursor
	// offset is the byte in the file after the last line that was read, and lines is that
	// line's number.
	offset, lines int64
	tail          uint32 // of that line
	long          []byte // the current line, if it is too long for the buffer
	last          bool   // the current line has no line break: it is the last
	ended         bool   // nothing follows, even if the file has grown since
	// left is true if the file ends within a record that may still be written.
	left bool
	// hole is true if what is left is space that was not written, in a file that has rested: nothing need come.
	hole bool
	// blanks is true if a blank line is a record, of one empty cell.
	blanks bool
	// counts is true if the cells are not needed.
	counts bool
}

// newRecords reads from the byte start, on the line after the cursor at.
func newRecords(f *file, start int64, at Cursor) *records {
	return &records{
		f: f, buf: bufio.NewReaderSize(f.From(start), bufferSize), plain: newPlainLines(f.opts), scan: scanner{dialect: f.opts.dialect()},
		at: at, offset: start, lines: at.lines(), blanks: len(f.header) == 1,
	}
}

// next returns the next record, valid until the next call, and moves at after it. A
// *RecordError concerns one record, and reading can continue. Any other error ends
// the read.
func (r *records) next() ([]string, error) {
	r.f.Forget(r.at.Offset)
	for {
		line, err := r.line(0)
		if err != nil {
			return nil, err
		}
		if line = files.TrimMark(line); len(line) == 0 || r.skips(line) {
			continue
		}
		if line[0] == 0 {
			return nil, r.bad(r.lines, errHole)
		}
		cells, err := r.record(line)
		switch {
		case err == nil && r.f.footer(cells):
			r.ended = true
			return nil, io.EOF
		case err == nil && r.f.repeats(cells) && r.f.opts.SkipRepeatedHeader:
			continue
		case err == nil && r.f.repeats(cells):
			return nil, &dataflow.RecordError{Key: r.at.String(), Raw: r.f.raw(cells), Err: errRepeated}
		}
		return cells, err
	}
}

// skips reports whether a line is no record.
func (r *records) skips(line []byte) bool {
	if c := line[0]; c == '\n' || c == '\r' && len(withoutBreak(line, r.last)) == 0 {
		return !r.blanks
	}
	return r.scan.comment != nil && bytes.HasPrefix(line, r.scan.comment)
}

// record returns the record that begins with a line.
func (r *records) record(line []byte) ([]string, error) {
	if r.plain != nil {
		if cells, ok := r.plain.split(withoutBreak(line, r.last), r.counts); ok {
			r.to(r.lines)
			return cells, nil
		}
	}
	first, opened, size := r.lines, r.lines, int64(len(line))
	r.scan.begin()
	for {
		was := len(r.scan.ends)
		if err := r.scan.line(line, r.last); err != nil {
			return nil, r.bad(first, err)
		}
		if !r.scan.more() {
			break
		}
		if len(r.scan.ends) > was {
			opened = r.lines
		}
		var err error
		line, err = r.line(size)
		if errors.Is(err, io.EOF) && !r.left {
			r.left = r.f.Grows()
		}
		if errors.Is(err, io.EOF) && !r.left && r.scan.escaped {
			r.scan.ends = append(r.scan.ends, len(r.scan.text))
			break
		}
		switch {
		case errors.Is(err, io.EOF) && !r.left:
			return nil, r.f.permanent("the quote that opens on line %d is never closed and takes in the rest of the file: close it", opened)
		case err != nil:
			return nil, err
		}
		size += int64(len(line))
	}
	r.to(first)
	if r.counts {
		return nil, nil
	}
	return r.scan.record(), nil
}

// to moves the cursor after the record that begins on a line.
func (r *records) to(first int64) {
	r.at = r.at.span(r.offset, first, r.lines)
	r.at.Head, r.at.Tail = r.f.Head(r.offset), r.tail
}

// bad returns the error of a record with a misplaced quote. The record ends with the line.
func (r *records) bad(first int64, err error) error {
	before := r.at.Offset
	r.to(first)
	where := err
	if quote := (*misplaced)(nil); errors.As(err, &quote) {
		where = fmt.Errorf("line %d, byte %d: %w", r.lines, quote.byte, quote.err)
	}
	if first < r.lines {
		where = fmt.Errorf("%w: the record takes in the lines %d to %d: close its quote, or set Quote to None if the file has no quotes", where, first, r.lines)
	}
	return &dataflow.RecordError{Key: r.at.String(), Raw: r.text(before, r.offset), Err: where}
}

// line returns the next line with its line break, valid until the next call. size is how
// many bytes of its record were read before. After the last line it returns io.EOF, and
// also at a last line that may still be written.
func (r *records) line(size int64) ([]byte, error) {
	if r.ended {
		return nil, io.EOF
	}
	r.long = r.long[:0]
	for {
		part, err := r.buf.ReadSlice('\n')
		if n := size + int64(len(r.long)+len(part)); n > r.f.opts.MaxRecordBytes {
			if hole := size == 0 && files.IsHole(r.long); files.IsHole(part) && r.f.EndsInHole() && (hole || r.f.Grows()) {
				r.ended, r.left, r.hole = true, true, hole && !r.f.Grows()
				return nil, io.EOF
			}
			return nil, r.f.permanent("the record after line %d has more than %d bytes: close an open quote, or raise MaxRecordBytes", r.at.lines(), r.f.opts.MaxRecordBytes)
		}
		if err != nil || len(r.long) > 0 { // otherwise, as for most lines, part is in the buffer whole
			r.long = append(r.long, part...)
			part = r.long
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			r.ended, r.last = true, true
			if r.left = r.f.Cut() || files.IsHole(part) || len(part) > 0 && r.f.Grows(); r.left || len(part) == 0 {
				r.hole = files.IsHole(part) && size == 0 && !r.f.Cut() && !r.f.Grows()
				return nil, io.EOF
			}
		case err != nil:
			return nil, r.f.wrap(fmt.Errorf("after line %d: %w", r.at.lines(), err))
		}
		r.offset += int64(len(part))
		r.lines++
		r.tail = files.Tail(part)
		return part, nil
	}
}

// text returns a part of the file as a JSON string, or nil if it cannot be read.
func (r *records) text(from, to int64) json.RawMessage {
	b, err := r.f.Bytes(from, min(to, from+maxRawBytes))
	if err != nil {
		return nil // report the record's own error instead
	}
	return marshal(visible(string(bytes.Trim(b, "\r\n"))))
}

// footer reports whether a record begins the end of the file.
func (f *file) footer(cells []string) bool {
	return f.header != nil && f.opts.Footer != "" && strings.HasPrefix(cells[0], f.opts.Footer)
}

// errHole is the error of a record after space that was not written, as where a program writes on at its own place in
// a log that was cut to nothing (copytruncate), or after a crash.
var errHole = errors.New("the line begins with NUL bytes: space that was not written, or was lost in a crash")

// errRepeated is the error of a record that is the header once more.
var errRepeated = errors.New("the record repeats the header: set SkipRepeatedHeader if the file was put together from several")

// repeats reports whether a record is the header once more. A single cell may be a value.
func (f *file) repeats(cells []string) bool {
	n := len(f.header)
	return n > 1 && len(cells) == n && cells[0] == f.header[0] && slices.Equal(cells, f.header)
}
