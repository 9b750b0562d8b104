package jsonrow

import (
	"bytes"
	"reflect"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// plain returns the next string if it is ASCII without escapes.
func (l *plainLine) plain() ([]byte, bool) {
	if l.at >= len(l.text) || l.text[l.at] != '"' {
		return nil, false
	}
	rest := l.text[l.at+1:]
	for i, c := range rest {
		switch {
		case c == '"':
			l.at += i + 2
			return rest[:i], true
		case c < ' ', c >= utf8.RuneSelf, c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// str returns the next string, valid until the next call. It leaves a string that
// is not UTF-8 to encoding/json, which repairs it.
func (l *plainLine) str() ([]byte, bool) {
	if s, ok := l.plain(); ok {
		return s, true
	}
	if l.at >= len(l.text) || l.text[l.at] != '"' {
		return nil, false
	}
	l.scratch = l.scratch[:0]
	for l.at++; l.at < len(l.text); {
		rest := l.text[l.at:]
		i := bytes.IndexFunc(rest, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' })
		if i < 0 {
			return nil, false
		}
		l.scratch = append(l.scratch, rest[:i]...)
		l.at += i + 1
		switch {
		case rest[i] == '"':
			return l.scratch, utf8.Valid(l.scratch)
		case rest[i] != '\\' || !l.escape():
			return nil, false
		}
	}
	return nil, false
}

// escape appends the character after a backslash.
func (l *plainLine) escape() bool {
	if l.at == len(l.text) {
		return false
	}
	c := l.text[l.at]
	l.at++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return l.unicode()
	default:
		return false
	}
	l.scratch = append(l.scratch, c)
	return true
}

// unicode appends the character of one \u escape, or of a surrogate pair of two.
func (l *plainLine) unicode() bool {
	r, ok := l.hex()
	if ok && utf16.IsSurrogate(r) {
		if ok = l.literal(`\u`); ok {
			var second rune
			second, ok = l.hex()
			r = utf16.DecodeRune(r, second)
			ok = ok && r != utf8.RuneError // encoding/json repairs an invalid pair
		}
	}
	l.scratch = utf8.AppendRune(l.scratch, r)
	return ok
}

func (l *plainLine) hex() (rune, bool) {
	if len(l.text)-l.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(l.text[l.at:l.at+4]), 16, 16)
	l.at += 4
	return rune(n), err == nil
}

// number returns the text of the next number.
func (l *plainLine) number() ([]byte, bool) {
	start := l.at
	if l.at < len(l.text) && l.text[l.at] == '-' {
		l.at++
	}
	first := l.at
	if n := l.digits(); n == 0 || n > 1 && l.text[first] == '0' {
		return nil, false
	}
	if l.at < len(l.text) && l.text[l.at] == '.' {
		if l.at++; l.digits() == 0 {
			return nil, false
		}
	}
	if l.at < len(l.text) && l.text[l.at]|0x20 == 'e' {
		if l.at++; l.at < len(l.text) && (l.text[l.at] == '+' || l.text[l.at] == '-') {
			l.at++
		}
		if l.digits() == 0 {
			return nil, false
		}
	}
	return l.text[start:l.at], true
}

func (l *plainLine) digits() (n int) {
	for l.at < len(l.text) && l.text[l.at]-'0' <= 9 {
		l.at++
		n++
	}
	return n
}

// null sets a pointer to nil and leaves any other field unchanged.
func (l *plainLine) null(f *field) bool {
	if f.pointer {
		f.value.SetZero()
	}
	return l.literal("null")
}

func (l *plainLine) setString(v reflect.Value) bool {
	s, ok := l.str()
	if ok {
		v.SetString(string(s))
	}
	return ok
}

func (l *plainLine) setBool(v reflect.Value) bool {
	b := l.literal("true")
	v.SetBool(b)
	return b || l.literal("false")
}

func (l *plainLine) setInt(v reflect.Value) bool {
	text, ok := l.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	v.SetInt(n)
	return err == nil && !v.OverflowInt(n)
}

func (l *plainLine) setUint(v reflect.Value) bool {
	text, ok := l.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	v.SetUint(n)
	return err == nil && !v.OverflowUint(n)
}

func (l *plainLine) setFloat(v reflect.Value) bool {
	text, ok := l.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseFloat(string(text), v.Type().Bits())
	v.SetFloat(n)
	return err == nil && !v.OverflowFloat(n)
}

func (l *plainLine) setTime(v reflect.Value) bool {
	text, ok := l.plain()
	if !ok {
		return false
	}
	t, ok := v.Addr().Interface().(*time.Time)
	return ok && t.UnmarshalText(text) == nil
}
