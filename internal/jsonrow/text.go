package jsonrow

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/stored"
)

// CheckUTF8 returns an error for a value with bytes that are not UTF-8, which JSON must be.
// encoding/json would put U+FFFD in their place: "café" in ISO 8859-1 would become "caf\uFFFD".
func CheckUTF8(value []byte) error {
	if utf8.Valid(value) {
		return nil
	}
	at := 0
	for at < len(value) {
		r, size := utf8.DecodeRune(value[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return fmt.Errorf("its byte %d, \\x%02X, is not UTF-8, which JSON must be: convert the text, or read it as a json.RawMessage", at+1, value[at])
}

// hasHalf reports whether a JSON value has an escape of half a surrogate pair, such as \ud83d alone, as of a
// text that was cut within an emoji.
func hasHalf(value []byte) bool {
	for {
		i := bytes.IndexByte(value, '\\')
		if i < 0 || i+1 == len(value) {
			return false
		}
		value = value[i:]
		switch first, ok := escaped(value); {
		case !ok:
			value = value[2:] // another escape, which may be that of a backslash
		case !utf16.IsSurrogate(first):
			value = value[6:]
		default:
			second, ok := escaped(value[6:])
			if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			value = value[12:]
		}
	}
}

// escaped returns what a text that begins with \u and four digits stands for.
func escaped(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

// checkHalves returns an error if a value that was read has U+FFFD in place of half a surrogate pair. A
// [json.RawMessage] has the escape itself.
func checkHalves(read any) error {
	changed := func(text string) bool { return strings.ContainsRune(text, utf8.RuneError) }
	if text, where := findText(reflect.ValueOf(read), "of the record", changed); where != "" {
		return fmt.Errorf("the text %q %s has half of a surrogate pair, such as \\ud83d alone, which is no character: send the text whole, or read it as a json.RawMessage", stored.Clip(text), where)
	}
	return nil
}
