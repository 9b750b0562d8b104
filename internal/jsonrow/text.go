package jsonrow

import (
	"fmt"
	"unicode/utf8"
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
