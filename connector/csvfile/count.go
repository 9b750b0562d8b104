package csvfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// count counts the records, good or bad, that encoding/csv would find, without
// splitting them.
func count(ctx context.Context, recs *records, opts *Options) (int64, error) {
	in := recs.in
	c := &counter{comma: utf8.AppendRune(nil, opts.Comma), trim: opts.trimLeading()}
	if opts.Comment != 0 {
		c.comment = utf8.AppendRune(nil, opts.Comment)
	}
	r := bufio.NewReaderSize(in, bufferSize)
	var long []byte // the current line, if it is too long for the buffer
	for lines := 1; ; {
		in.allow(opts.MaxRecordBytes)
		recs.f.Forget(recs.offset + in.served)
		part, err := r.ReadSlice('\n')
		switch {
		case err == nil && len(long) == 0:
			c.line(part)
		case err == nil:
			c.line(append(long, part...))
			long = long[:0]
		case errors.Is(err, bufio.ErrBufferFull) && int64(len(long)) <= opts.MaxRecordBytes:
			long = append(long, part...)
			continue
		case errors.Is(err, io.EOF):
			return c.records, nil
		default:
			return 0, fmt.Errorf("count records: %w", err)
		}
		if lines++; lines%checkEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// counter counts records line by line, by the rules of encoding/csv.
type counter struct {
	comma, comment []byte
	trim           bool
	open           bool // true if the next line begins inside a quoted cell
	records        int64
}

// line counts the next line, given with its line break.
func (c *counter) line(b []byte) {
	if !c.open {
		if b[0] == '\n' || string(b) == "\r\n" || c.comment != nil && bytes.HasPrefix(b, c.comment) {
			return
		}
		c.records++
		if bytes.IndexByte(b, '"') < 0 {
			return // as for most lines, the record ends here
		}
	}
	c.open = c.cells(b)
}

// cells scans the cells of a line. It reports whether the last cell continues on
// the next line.
func (c *counter) cells(b []byte) bool {
	for quoted := c.open; ; quoted = false {
		if !quoted {
			if c.trim {
				b = bytes.TrimLeftFunc(b, unicode.IsSpace)
			}
			if quoted = bytes.HasPrefix(b, []byte{'"'}); quoted {
				b = b[1:]
			}
		}
		var more bool
		if quoted {
			var closed bool
			if b, closed = afterQuote(b); !closed {
				return true
			}
			b, more = bytes.CutPrefix(b, c.comma)
		} else {
			var cell []byte
			cell, b, more = bytes.Cut(b, c.comma)
			more = more && bytes.IndexByte(cell, '"') < 0
		}
		// The line has ended, or a misplaced quote ends the record.
		if !more {
			return false
		}
	}
}

// afterQuote returns what follows the quote that closes a cell, if there is one.
func afterQuote(b []byte) ([]byte, bool) {
	for {
		i := bytes.IndexByte(b, '"')
		if i < 0 {
			return nil, false
		}
		b = b[i+1:]
		if len(b) == 0 || b[0] != '"' {
			return b, true
		}
		b = b[1:] // a doubled quote is part of the cell
	}
}
