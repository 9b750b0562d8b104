package files

import (
	"bufio"
	"errors"
	"io"
)

// Lines reads a file line by line.
type Lines struct {
	f    *File
	r    *bufio.Reader
	max  int64
	long []byte // the current line, if it is too long for the buffer
	// Offset is the byte after the last line that was read and its line break.
	Offset int64
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
// last line it returns io.EOF.
func (l *Lines) Next() ([]byte, error) {
	l.long = l.long[:0]
	tooLong := false
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
		if tooLong = tooLong || int64(len(trimBreak(part))) > l.max; tooLong {
			l.long = append(l.long[:0], part[:min(int64(len(part)), l.max)]...)
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
