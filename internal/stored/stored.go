// Package stored reads, writes and compares what the library stores as JSON or text: cursors,
// settings and errors. It knows nothing of flows and runs.
package stored

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Digest returns a short text that differs for different lists of JSON values. White space
// does not count. A value that is not JSON counts as an empty one.
func Digest(values ...json.RawMessage) string {
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

// Same reports whether two JSON values are the same text, apart from white space. Nil is the
// same as nil alone.
func Same(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// DecodeStrict reads JSON that must fit v exactly. So the cursor of another kind of source is
// refused, instead of being read as an empty cursor, which is the beginning.
func DecodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more data follows the first JSON value")
	}
	return fullArray(data, reflect.TypeOf(v).Elem())
}

// fullArray returns an error if a JSON array is longer or shorter than the Go array that it was read into:
// encoding/json drops elements, or leaves them at zero. A null, and a text such as that of a UUID, have no length.
func fullArray(data []byte, of reflect.Type) error {
	_, own := reflect.New(of).Interface().(json.Unmarshaler) // it knows what fits
	if of.Kind() != reflect.Array || own || !bytes.HasPrefix(bytes.TrimSpace(data), []byte{'['}) {
		return nil
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return err
	}
	if len(elements) != of.Len() {
		return fmt.Errorf("a list of length %d does not fit %s", len(elements), of)
	}
	return nil
}
