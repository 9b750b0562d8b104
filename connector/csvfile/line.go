package csvfile

import (
	"bytes"
	"unicode/utf8"
)

// plainLines reads records that stand on one line each, as encoding/csv does, and
// faster. It takes only lines in which nothing is wrong; what it leaves, encoding/csv
// reads on from the same place.
type plainLines struct {
	comma   byte
	comment []byte // nil: there are none
	cells   []string
	ends    []int  // of the cells in text
	text    []byte // of cells with doubled quotes
}

// newPlainLines returns nil where no line is read so.
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

// skipped reports whether a line, with its line break, is left out.
func (p *plainLines) skipped(line []byte) bool {
	return line[0] == '\n' || string(line) == "\r\n" || p.comment != nil && bytes.HasPrefix(line, p.comment)
}

// split takes a line apart. It returns nil for one that encoding/csv is to read. The
// cells share one text, and the slice is used again by the next call.
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

// splitQuoted is split for a line that has quotes.
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

// cell appends the first cell of a line to text. It returns what is behind the comma
// that follows, if one does.
func (p *plainLines) cell(line []byte) (rest []byte, more, ok bool) {
	if len(line) == 0 || line[0] != '"' {
		cell, rest, more := bytes.Cut(line, []byte{p.comma})
		p.text = append(p.text, cell...)
		return rest, more, bytes.IndexByte(cell, '"') < 0
	}
	for rest = line[1:]; ; rest = rest[1:] {
		i := bytes.IndexByte(rest, '"')
		if i < 0 {
			return nil, false, false // it goes on in the next line, or nowhere
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
