package csvfile

import (
	"bytes"
	"unicode/utf8"
)

// plainLines reads records of one line as encoding/csv does, but faster. It accepts
// only valid lines; encoding/csv reads all others from the same place.
type plainLines struct {
	comma   byte
	comment []byte // nil if there are none
	cells   []string
	ends    []int  // where each cell ends in text
	text    []byte // the cells of a line with quotes, unquoted
}

// newPlainLines returns nil if the options need encoding/csv for every line.
func newPlainLines(opts *Options) *plainLines {
	if opts.trimLeading() || opts.Comma >= utf8.RuneSelf {
		return nil
	}
	p := &plainLines{comma: byte(opts.Comma)}
	if opts.Comment != 0 {
		p.comment = utf8.AppendRune(nil, opts.Comment)
	}
	return p
}

// skipped reports whether a line, given with its line break, is blank or a comment.
func (p *plainLines) skipped(line []byte) bool {
	return line[0] == '\n' || string(line) == "\r\n" || p.comment != nil && bytes.HasPrefix(line, p.comment)
}

// split returns the cells of a line, or nil if encoding/csv must read it. The cells
// share one text. The next call reuses the slice.
func (p *plainLines) split(line []byte) []string {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	p.cells = p.cells[:0]
	if bytes.IndexByte(line, '"') >= 0 {
		return p.splitQuoted(line)
	}
	for text := string(line); ; {
		i := bytes.IndexByte(line, p.comma)
		if i < 0 {
			p.cells = append(p.cells, text)
			return p.cells
		}
		p.cells = append(p.cells, text[:i])
		text, line = text[i+1:], line[i+1:]
	}
}

// splitQuoted is split for a line with quotes.
func (p *plainLines) splitQuoted(line []byte) []string {
	p.text, p.ends = p.text[:0], p.ends[:0]
	for more := true; more; {
		var ok bool
		if line, more, ok = p.cell(line); !ok {
			return nil
		}
		p.ends = append(p.ends, len(p.text))
	}
	text, start := string(p.text), 0
	for _, end := range p.ends {
		p.cells = append(p.cells, text[start:end])
		start = end
	}
	return p.cells
}

// cell appends the first cell of a line to text. If a comma follows, it returns the
// rest of the line after it.
func (p *plainLines) cell(line []byte) (rest []byte, more, ok bool) {
	if len(line) == 0 || line[0] != '"' {
		cell, rest, more := bytes.Cut(line, []byte{p.comma})
		p.text = append(p.text, cell...)
		return rest, more, bytes.IndexByte(cell, '"') < 0
	}
	for rest = line[1:]; ; rest = rest[1:] {
		i := bytes.IndexByte(rest, '"')
		if i < 0 {
			return nil, false, false // the cell continues on the next line, or is never closed
		}
		p.text = append(p.text, rest[:i]...)
		rest = rest[i+1:]
		switch {
		case len(rest) == 0:
			return nil, false, true
		case rest[0] == p.comma:
			return rest[1:], true, true
		case rest[0] != '"':
			return nil, false, false
		}
		p.text = append(p.text, '"')
	}
}
