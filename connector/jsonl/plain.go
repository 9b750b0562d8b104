package jsonl

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// maxNested is how long an object or a list within a line may be to be read here. It
// is shorter than encoding/json lets one be deep.
const maxNested = 8 << 10

// plainLine reads lines that are objects into one struct, several times as fast as
// encoding/json, and as that does. It never finds that a line is bad: what it does not
// know is left to encoding/json, which then begins anew.
type plainLine struct {
	fields []field
	strict bool
	// Most lines have the names of the line before, in the same order.
	before []spelling

	text    []byte
	at      int
	scratch []byte
}

// spelling is a name as it stood in a line, and its field.
type spelling struct {
	name  []byte
	field int // -1: none
}

// newPlainLine returns nil if no line can be read so.
func newPlainLine(row reflect.Value, strict bool) *plainLine {
	fields, ok := compile(row)
	if !ok {
		return nil
	}
	return &plainLine{fields: fields, strict: strict}
}

// decode reads a line into the struct, which is zero. It returns false, and leaves
// anything in the struct, for a line that is not so plain.
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

// value reads the value at hand into a field.
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

// ended reports whether nothing is left of the line.
func (l *plainLine) ended() bool {
	l.peek()
	return l.at == len(l.text)
}

// peek returns the next character behind white space, 0 at the end.
func (l *plainLine) peek() byte {
	for ; l.at < len(l.text); l.at++ {
		if c := l.text[l.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// next is peek, and goes on behind the character.
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

// setAny has encoding/json read one value of any type.
func (l *plainLine) setAny(v reflect.Value) bool {
	text, ok := l.extent()
	return ok && !l.strict && json.Unmarshal(text, v.Addr().Interface()) == nil
}

// skip leaves out a value that no field wants.
func (l *plainLine) skip() bool {
	if _, ok := l.plain(); ok {
		return true
	}
	text, ok := l.extent()
	return ok && json.Valid(text)
}

// extent returns the text of the value at hand, if it is one.
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
