package csvfile

import "bytes"

// plainLines splits records of one line, faster than a scanner. It accepts only lines
// without anything special; a scanner splits all others.
type plainLines struct {
	comma byte
	// special is a byte that makes a line special: the quote, or an escape without quotes;
	// or none.
	special int
	// quotes is true if special is a quote that is doubled within a cell, and so
	// splitQuoted can split the line too.
	quotes bool
	cells  []string
	ends   []int  // where each cell ends in text
	text   []byte // the cells of a line with quotes, unquoted
}

// newPlainLines returns nil if the options need a scanner for every line.
func newPlainLines(opts *Options) *plainLines {
	d := opts.dialect()
	if d.trim || len(d.comma) > 1 {
		return nil
	}
	p := &plainLines{comma: d.comma[0], special: d.quote, quotes: d.quote != none && d.escape == none}
	if d.quote == none {
		p.special = d.escape
	}
	return p
}

// split returns the cells of a line without its line break, or false if a scanner must
// split it. The cells share one text. The next call reuses the slice. Without the need to
// see cells, it may return none.
func (p *plainLines) split(line []byte, counts bool) ([]string, bool) {
	p.cells = p.cells[:0]
	if p.special != none && bytes.IndexByte(line, byte(p.special)) >= 0 {
		if !p.quotes {
			return nil, false
		}
		return p.splitQuoted(line)
	}
	if counts {
		return nil, true
	}
	for text := string(line); ; {
		i := bytes.IndexByte(line, p.comma)
		if i < 0 {
			p.cells = append(p.cells, text)
			return p.cells, true
		}
		p.cells = append(p.cells, text[:i])
		text, line = text[i+1:], line[i+1:]
	}
}

// splitQuoted is split for a line with quotes.
func (p *plainLines) splitQuoted(line []byte) ([]string, bool) {
	p.text, p.ends = p.text[:0], p.ends[:0]
	for more := true; more; {
		var ok bool
		if line, more, ok = p.cell(line); !ok {
			return nil, false
		}
		p.ends = append(p.ends, len(p.text))
	}
	text, start := string(p.text), 0
	for _, end := range p.ends {
		p.cells = append(p.cells, text[start:end])
		start = end
	}
	return p.cells, true
}

// cell appends the first cell of a line to text. If a comma follows, it returns the
// rest of the line after it.
func (p *plainLines) cell(line []byte) (rest []byte, more, ok bool) {
	quote := byte(p.special)
	if len(line) == 0 || line[0] != quote {
		cell, rest, more := bytes.Cut(line, []byte{p.comma})
		p.text = append(p.text, cell...)
		return rest, more, bytes.IndexByte(cell, quote) < 0
	}
	for rest = line[1:]; ; rest = rest[1:] {
		i := bytes.IndexByte(rest, quote)
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
		case rest[0] != quote:
			return nil, false, false
		}
		p.text = append(p.text, quote)
	}
}
