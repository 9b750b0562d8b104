package jsonrow

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/activedataflow/dataflow/internal/exact"
)

// maxNested limits the bytes of an object or a list that is read here. It is below
// the nesting depth that encoding/json allows, so no such value is too deep.
const maxNested = 8 << 10

// plainLine reads lines that hold an object into one struct. It gives the same
// results as encoding/json, several times as fast. It never reports a bad line: it
// leaves anything unusual to encoding/json, which reads the line again from its
// start.
type plainLine struct {
	fields []field
	strict bool
	// before holds the names of the previous line. Most lines repeat them in the
	// same order.
	before []spelling

	text    []byte
	at      int
	scratch []byte
}

// spelling is a name as written in a line, and its field.
type spelling struct {
	name  []byte
	field int // -1 if no field has the name
}

// newPlainLine returns nil if the type needs encoding/json for every line.
func newPlainLine(row reflect.Value, strict bool) *plainLine {
	fields, ok := compile(row)
	if !ok {
		return nil
	}
	return &plainLine{fields: fields, strict: strict}
}

// decode reads a line into the struct, which must be zero. It returns false if
// encoding/json must read the line; the struct's content is then undefined.
func (l *plainLine) decode(line []byte) bool {
	l.text, l.at = line, 0
	if l.next() != '{' {
		return false
	}
	if l.peek() == '}' {
		l.at++
		return l.ended()
	}
	for n := 0; ; n++ {
		l.peek()
		name, ok := l.plain()
		if !ok || l.next() != ':' {
			return false
		}
		if !l.value(l.field(n, name)) {
			return false
		}
		switch l.next() {
		case ',':
		case '}':
			return l.ended()
		default:
			return false
		}
	}
}

// field returns the field of the n-th name of a line.
func (l *plainLine) field(n int, name []byte) int {
	if n < len(l.before) && bytes.Equal(l.before[n].name, name) {
		return l.before[n].field
	}
	i := find(l.fields, string(name))
	if n == len(l.before) && n <= len(l.fields) {
		l.before = append(l.before, spelling{})
	}
	if n < len(l.before) {
		l.before[n] = spelling{name: append(l.before[n].name[:0], name...), field: i}
	}
	return i
}

// value reads the next value into field i.
func (l *plainLine) value(i int) bool {
	c := l.peek()
	switch {
	case i < 0 && l.strict:
		return false
	case i < 0:
		return l.skip()
	}
	f := &l.fields[i]
	v := f.value
	if c == 'n' && f.plain {
		return l.null(f)
	}
	if f.pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return f.set(l, v)
}

// ended reports whether only white space remains.
func (l *plainLine) ended() bool {
	l.peek()
	return l.at == len(l.text)
}

// peek skips white space and returns the next character, or 0 at the end.
func (l *plainLine) peek() byte {
	for ; l.at < len(l.text); l.at++ {
		if c := l.text[l.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// next is peek, and consumes the character.
func (l *plainLine) next() byte {
	c := l.peek()
	l.at++
	return c
}

func (l *plainLine) literal(word string) bool {
	if !bytes.HasPrefix(l.text[l.at:], []byte(word)) {
		return false
	}
	l.at += len(word)
	return true
}

// setAny reads one value of any type with encoding/json.
func (l *plainLine) setAny(v reflect.Value) bool {
	text, ok := l.extent()
	return ok && !l.strict && exact.Unmarshal(text, v.Addr().Interface()) == nil
}

// skip skips a value without a field.
func (l *plainLine) skip() bool {
	if _, ok := l.plain(); ok {
		return true
	}
	text, ok := l.extent()
	return ok && json.Valid(text)
}

// extent returns the text of the next value. It returns false if the value does not
// end or is longer than maxNested.
func (l *plainLine) extent() ([]byte, bool) {
	start, depth, quoted := l.at, 0, false
	for ; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; {
		case quoted && c == '\\':
			l.at++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}'):
			return l.text[start:l.at], l.at-start <= maxNested
		case c == '}', c == ']':
			depth--
		}
	}
	return nil, false
}
