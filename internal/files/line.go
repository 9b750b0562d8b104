package files

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Lines reads a file line by line.
type Lines struct {
	f     *File
	r     *bufio.Reader
	max   int64
	long  []byte // the current line, if it is too long for the buffer
	ended bool   // nothing follows, even if the file has grown since
	// Offset is the byte after the last line that was read and its line break.
	Offset int64
	// Left is true if the file ends within a line that may still be written. The line
	// is not returned, and Offset is before it.
	Left bool
	// Hole is true if what is left is space that was not written, in a file that has rested: nothing need come.
	Hole bool
	// Whole, if it is not nil, reports whether a line without a line break is whole
	// nevertheless, because nothing can follow it.
	Whole func(line []byte) bool
}

// ErrTooLong is returned for a line over the limit. Reading can continue with the
// next line.
var ErrTooLong = errors.New("line is too long")

// NewLines reads the lines of f from offset on. A line of more than limit bytes is
// an ErrTooLong.
func NewLines(f *File, offset, limit int64) *Lines {
	return &Lines{f: f, r: bufio.NewReaderSize(f.From(offset), chunk), max: limit, Offset: offset}
}

// Next returns the next line without its line break. The slice is valid until the
// next call. For ErrTooLong it returns the first limit bytes of the line. After the
// last line it returns io.EOF. It returns a line without a line break only if the file
// has rested, and nothing after such a line.
func (l *Lines) Next() ([]byte, error) {
	if l.ended {
		return nil, io.EOF
	}
	l.long = l.long[:0]
	tooLong := false
	start := l.Offset
	for {
		part, err := l.r.ReadSlice('\n')
		l.Offset += int64(len(part))
		l.f.Forget(l.Offset)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil || len(l.long) > 0 { // otherwise, as for most lines, part is in the buffer whole
			if !tooLong {
				l.long = append(l.long, part...)
			}
			part = l.long
		}
		if !tooLong && int64(len(trimBreak(part))) > l.max { // once: a line may have gigabytes
			tooLong = true
			l.long = append(l.long[:0], part[:min(int64(len(part)), l.max)]...)
		}
		if errors.Is(err, io.EOF) && l.leave(part, start, tooLong) {
			return nil, io.EOF
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case tooLong:
			return l.long, ErrTooLong
		case err != nil && len(part) == 0:
			return nil, io.EOF
		default:
			return trimBreak(part), nil
		}
	}
}

// leave ends the lines, at a last line without a line break. It reports whether to leave
// that line, which begins at start.
func (l *Lines) leave(part []byte, start int64, tooLong bool) bool {
	l.ended = true
	switch {
	case l.Offset == start: // no line
		l.Left = l.f.Cut()
	case IsHole(part):
		l.Left, l.Hole = true, !l.f.Cut() && !l.f.Grows()
	case !tooLong && !l.f.Cut() && l.Whole != nil && l.Whole(part):
	default:
		l.Left = l.f.Cut() || l.f.Grows()
	}
	if l.Left {
		l.Offset = start
	}
	return l.Left
}

// HoleNote is what the log says of a file that ends in a hole.
const HoleNote = "the file ends in NUL bytes: space that was not written yet, or was lost in a crash; a later run reads what is written there"

// IsHole reports whether the end of a file holds only NUL bytes: the space for lines that were
// not written yet, or were lost in a crash. It is no line, whatever its age.
func IsHole(end []byte) bool { return len(end) > 0 && len(bytes.Trim(end, "\x00")) == 0 }

// EndsInHole reports whether the last byte of a file that is not compressed is NUL. Windows sets the length of a file on
// a server before it copies the text.
func (f *File) EndsInHole() bool {
	size, err := f.Size()
	if f.at == nil || err != nil || size == 0 {
		return false
	}
	last, err := f.Bytes(size-1, size)
	return err == nil && IsHole(last)
}

// trimBreak removes a line break, "\n" or "\r\n".
func trimBreak(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}
