package dataflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// digest tells JSON values apart.
func digest(values ...json.RawMessage) string {
	h := sha256.New()
	for _, v := range values {
		var b bytes.Buffer
		if json.Compact(&b, v) != nil {
			b.Reset()
		}
		h.Write(fmt.Appendf(nil, "%d:%s", b.Len(), b.Bytes()))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// sameJSON compares texts, apart from white space.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// placeText is a stored cursor for people.
func placeText(cursor json.RawMessage) string {
	if cursor == nil {
		return "the beginning"
	}
	return "cursor " + clip(string(cursor))
}

// clip shortens what goes into an error message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// storable makes any text one that a database takes.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// cursorText is a cursor as people read it.
func cursorText(cursor any) string {
	if s, ok := cursor.(fmt.Stringer); ok {
		return s.String()
	}
	data, err := json.Marshal(cursor)
	if err != nil {
		return fmt.Sprint(cursor)
	}
	return string(data)
}

// decodeStrict reads JSON that must fit v exactly, so that a cursor of another
// kind of source is not taken for the beginning.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind it")
	}
	return nil
}

// seconds is a duration that JSON holds as a number of seconds.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) {
	sign, whole, rest := "", time.Duration(s)/time.Second, time.Duration(s)%time.Second
	if s < 0 {
		sign, whole, rest = "-", -whole, -rest
	}
	text := fmt.Sprintf("%s%d.%09d", sign, whole, rest) // a float64 would not hold them all
	return []byte(strings.TrimSuffix(strings.TrimRight(text, "0"), ".")), nil
}

func (s *seconds) UnmarshalJSON(data []byte) error {
	var n *float64
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("interval %s is not a number of seconds", data)
	}
	if n == nil {
		return nil
	}
	if d, err := time.ParseDuration(string(data) + "s"); err == nil {
		*s = seconds(d)
		return nil
	}
	if math.Abs(*n) >= math.MaxInt64/float64(time.Second) {
		return fmt.Errorf("interval %s is out of range", data)
	}
	*s = seconds(math.Round(*n * float64(time.Second)))
	return nil
}
