package csvfile

import (
	"bytes"
	"encoding/csv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// none is the byte of a quote or an escape that the dialect does not have. No text holds it:
// it is no byte at all.
const none = -1

// dialect is how a file separates its cells.
type dialect struct {
	comma         []byte
	comment       []byte // nil if there are none
	quote, escape int    // a byte, or none
	lazy, trim    bool
}

func (o *Options) dialect() dialect {
	d := dialect{comma: utf8.AppendRune(nil, o.Comma), quote: none, escape: none, lazy: o.LazyQuotes, trim: o.trimLeading()}
	if o.Comment != 0 {
		d.comment = utf8.AppendRune(nil, o.Comment)
	}
	if o.Quote != None {
		d.quote = int(o.Quote)
	}
	if o.Escape != 0 && o.Escape != o.Quote { // a doubled quote needs no rule of its own
		d.escape = int(o.Escape)
	}
	return d
}

// trimLeading reports whether space may precede a cell's opening quote. It is false
// if the separator itself is a space.
func (o *Options) trimLeading() bool { return o.TrimSpace && !unicode.IsSpace(o.Comma) }

// scanner splits records that plainLines does not, such as those of several lines.
type scanner struct {
	dialect
	text []byte // of the cells so far, without quotes
	ends []int  // where each cell ends in text
	// open is true if a quoted cell goes on on the next line, and escaped if any other cell
	// does, because its line break is escaped.
	open, escaped bool
	cells         []string
}

// misplaced is a quote that ends a record as bad.
type misplaced struct {
	byte int // in its line, from 1
	err  error
}

func (e *misplaced) Error() string { return e.err.Error() }
func (e *misplaced) Unwrap() error { return e.err }

// begin begins a new record.
func (s *scanner) begin() {
	s.text, s.ends, s.open, s.escaped = s.text[:0], s.ends[:0], false, false
}

// more reports whether the record goes on on the next line.
func (s *scanner) more() bool { return s.open || s.escaped }

// record returns the cells of a complete record. They share one text. The next call
// reuses the slice.
func (s *scanner) record() []string {
	s.cells = s.cells[:0]
	text, start := string(s.text), 0
	for _, end := range s.ends {
		s.cells = append(s.cells, text[start:end])
		start = end
	}
	return s.cells
}

// line splits the next line of a record, given with its line break. last is true if
// nothing follows it in the file.
func (s *scanner) line(line []byte, last bool) error {
	body := withoutBreak(line, last)
	s.escaped = false
	for at := 0; ; {
		if !s.open {
			at = s.begins(body, at)
		}
		var end int
		var err error
		switch {
		case s.open:
			end, err = s.quoted(body, at)
		default:
			end, err = s.bare(body, at)
		}
		if err != nil {
			return err
		}
		if s.escaped = s.escaped && !last; s.open || s.escaped {
			s.text = append(s.text, line[len(body):]...)
			return nil
		}
		s.ends = append(s.ends, len(s.text))
		if end >= len(body) {
			return nil
		}
		at = end + len(s.comma)
	}
}

// begins looks at the first byte of a cell, and passes an opening quote.
func (s *scanner) begins(body []byte, at int) int {
	if s.trim {
		at = len(body) - len(bytes.TrimLeftFunc(body[at:], unicode.IsSpace))
	}
	if at < len(body) && int(body[at]) == s.quote {
		s.open = true
		at++
	}
	return at
}

// bare adds a cell without quotes. It returns where the cell ends.
func (s *scanner) bare(body []byte, at int) (int, error) {
	for {
		i := bytes.Index(body[at:], s.comma)
		if i < 0 {
			i = len(body) - at
		}
		if s.quote != none && !s.lazy {
			if q := bytes.IndexByte(body[at:at+i], byte(s.quote)); q >= 0 {
				return 0, &misplaced{byte: at + q + 1, err: csv.ErrBareQuote}
			}
		}
		// With quotes, an escape outside of them is text.
		esc := -1
		if s.quote == none && s.escape != none {
			esc = bytes.IndexByte(body[at:at+i], byte(s.escape))
		}
		if esc < 0 {
			s.text = append(s.text, body[at:at+i]...)
			return at + i, nil
		}
		s.text = append(s.text, body[at:at+esc]...)
		at += esc + 1
		switch rest := body[at:]; {
		case len(rest) == 0:
			s.escaped = true
			return at, nil
		case bytes.HasPrefix(rest, s.comma):
			s.text = append(s.text, s.comma...)
			at += len(s.comma)
		case int(rest[0]) == s.escape:
			s.text = append(s.text, rest[0])
			at++
		case strings.IndexByte(letters, rest[0]) >= 0:
			s.text = append(s.text, meanings[strings.IndexByte(letters, rest[0])])
			at++
		default: // such as \N
			s.text = append(s.text, byte(s.escape))
		}
	}
}

// In a file without quotes, an escape and one of these stand for the character at the same place.
const (
	letters  = "0bfnrtv\r\"'"
	meanings = "\x00\b\f\n\r\t\v\r\"'"
)

// quoted adds the rest of a quoted cell. It returns where the cell ends, unless it is still
// open at the end of the line.
func (s *scanner) quoted(body []byte, at int) (int, error) {
	for {
		i := s.special(body[at:])
		if i < 0 {
			s.text = append(s.text, body[at:]...)
			return len(body), nil
		}
		s.text = append(s.text, body[at:at+i]...)
		at += i
		rest := body[at+1:]
		if int(body[at]) == s.escape {
			if len(rest) > 0 && (int(rest[0]) == s.quote || int(rest[0]) == s.escape) {
				s.text = append(s.text, rest[0])
				at += 2
				continue
			}
			if len(rest) > 0 { // otherwise it escapes the line break
				s.text = append(s.text, body[at])
			}
			at++
			continue
		}
		switch {
		case len(rest) == 0, bytes.HasPrefix(rest, s.comma):
			s.open = false
			return at + 1, nil
		case int(rest[0]) == s.quote:
			s.text = append(s.text, rest[0])
			at += 2
		case !s.lazy:
			return 0, &misplaced{byte: at + 1, err: csv.ErrQuote}
		case s.closesLater(rest):
			s.text = append(s.text, body[at])
			at++
		default: // the cell ends here, and what follows up to the comma belongs to it
			s.open = false
			end := bytes.Index(rest, s.comma)
			if end < 0 {
				end = len(rest)
			}
			s.text = append(s.text, rest[:end]...)
			return at + 1 + end, nil
		}
	}
}

// special returns the index of the first quote or escape.
func (s *scanner) special(b []byte) int {
	i := bytes.IndexByte(b, byte(s.quote))
	if s.escape == none {
		return i
	}
	j := bytes.IndexByte(b, byte(s.escape))
	if i < 0 || j >= 0 && j < i {
		return j
	}
	return i
}

// closesLater reports whether a quote of this cell follows that looks more like its end: one
// before a comma or the end of the line. A quote right after a comma opens another cell.
func (s *scanner) closesLater(rest []byte) bool {
	for at := 0; ; at++ {
		i := bytes.IndexByte(rest[at:], byte(s.quote))
		if i < 0 {
			return false
		}
		before, after := bytes.TrimRight(rest[:at+i], " \t"), rest[at+i+1:]
		if bytes.HasSuffix(before, s.comma) {
			return false
		}
		if len(after) == 0 || bytes.HasPrefix(after, s.comma) {
			return true
		}
		at += i
	}
}

// withoutBreak removes the line break of a line. At the end of the file it may be a "\r".
func withoutBreak(line []byte, last bool) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	} else if !last {
		return line
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
