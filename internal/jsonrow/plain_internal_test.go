package jsonrow

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type word string

type inner struct {
	City string   `json:"city"`
	List []string `json:"list"`
}

type embedded struct {
	Deep int
	Also *float32 `json:"also"`
}

// many has a field of each kind that plainLine distinguishes.
type many struct {
	embedded
	ID     int64          `json:"id"`
	Small  int8           `json:"small,omitempty"`
	Size   uint16         `json:"size"`
	Big    uint64         `json:"big"`
	Name   string         `json:"name"`
	Word   word           `json:"a b"`
	Flag   bool           `json:"flag"`
	Amount float64        `json:"amount"`
	Short  float32        `json:"short"`
	At     time.Time      `json:"at"`
	Maybe  *string        `json:"maybe"`
	Num    *int           `json:"num"`
	When   *time.Time     `json:"when"`
	Twice  **int          `json:"twice"`
	Bytes  []byte         `json:"bytes"`
	Inner  inner          `json:"inner"`
	Next   *inner         `json:"next"`
	More   map[string]int `json:"more"`
	Any    any            `json:"any"`
	Number json.Number    `json:"number"`
	Raw    json.RawMessage
	Sum    big.Int    `json:"sum"`
	Addr   netip.Addr `json:"addr"`
	Out    string     `json:"-"`
	Dash   string     `json:"-,"` //nolint:staticcheck // named "-" by encoding/json, and so here
	Straße string
	KELVIN int `json:"kelvin"`
	Kelvin int `json:"Kelvin"`
}

// manyLines are used by two tests.
var manyLines = []string{
	`{"id":1,"name":"a","flag":true,"amount":1.5,"at":"2024-01-02T03:04:05Z","small":-8,"size":9}`,
	` { "id" : -12 , "name" : "é\n\"\/\\\u00e9\b\f\r\t" } ` + "\r",
	`{"Id":1,"NAME":"x","DEEP":3,"strasse":1,"STRASSE":2,"straße":"s","STRAẞE":"t","KELVIN":1,"kelvin":2,"Kelvin":3,"K":4}`,
	`{"id":1,"id":2,"maybe":"a","maybe":null,"num":1,"num":2,"flag":true,"flag":null,"name":"x","name":null}`,
	`{"inner":{"city":"x","list":["a","b"]},"next":{"city":"z"},"more":{"a":1,"a":2},"any":[1,{"x":"}"}],"bytes":"aGk="}`,
	`{"inner":{"city":"x"},"inner":{"list":["y"]},"more":{"a":1},"more":{"b":2},"any":{"a":1},"any":{"b":2}}`,
	`{"number":12.50,"raw":{"a" : 1},"sum":123456789012345678901234567890,"addr":"1.2.3.4","twice":7,"when":"2024-01-02T03:04:05.5+02:00"}`,
	`{"unknown":{"a":[1,2,{"b":"]\"}"}]},"other":"x","third":null,"4":true,"5":-1.5e+3,"6":[],"7":"\u12"}`,
	`{"id":null,"name":null,"at":null,"when":null,"inner":null,"any":null,"raw":null,"addr":null,"number":null}`,
	`{"id":1.0}`, `{"id":1e3}`, `{"id":9223372036854775808}`, `{"id":-9223372036854775808}`, `{"small":128}`, `{"size":-1}`, `{"size":-0}`, `{"big":18446744073709551615}`,
	`{"id":01}`, `{"id":-}`, `{"id":+1}`, `{"id":"1"}`, `{"amount":1e400}`, `{"short":1e39}`, `{"amount":-0.0}`, `{"amount":.5}`, `{"amount":5.}`, `{"amount":1E-2}`, `{"amount":1e}`,
	`{"also":1.25,"Also":2.5,"Deep":1,"deep":2}`,
	"{\"name\":\"\xff\"}", "{\"name\":\"a\x01\"}", "{\"\xff\":1}", `{"name":"\ud83d\ude00"}`, `{"name":"\ud83d\u0041"}`, `{"name":"\ud83dx"}`, `{"name":"\ude00\ud83d"}`, `{"name":"\ud83d\u12"}`, `{"name":"\ud83d"}`, `{"name":"\'"}`, `{"name":"\u0000"}`, `{"n\u0061me":"x"}`, "{\"name\":\"\xe2\x82\\n\"}",
	`{"at":"2024-1-2T03:04:05Z"}`, `{"at":"2024-01-02 03:04:05"}`, `{"at":"2024-01-02T03:04:05\u005a"}`, `{"at":5}`, `{"at":"2024-01-02T24:04:05Z"}`, `{"at":"2024-01-02T03:04:05,5Z"}`, `{"at":"2024-01-02T03:04:05+24:00"}`,
	`{"name":"x"`, `{"name":"x",}`, `{"name":"x" "id":1}`, `{"name"}`, `{"name":}`, `{name:1}`, `{}`, ` {} x`, `{}{}`, `{"a":1}]`, `[]`, `null`, `1`, `""`, ``, `{`, `{"`, `{"a":tru}`, `{"flag":truex}`, `{"flag":nul}`, `{"id":nullx}`, `{"any":[1}`, `{"x":[1,2}`, `{"x":"a"b}`, "{\"id\":1,\v\"name\":\"a\"}",
	`{"a b":"w","-":"d","Out":"o","out":"p","hidden":5,"embedded":{"Deep":1}}`,
	`{"x":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`,
	`{"any":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`,
	`{"any":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
}

// requireSame reads the lines in turn with the decoder and with encoding/json
// alone, and compares the results. It returns how many lines plainLine could read.
func requireSame[T any](t *testing.T, lines []string, strict bool) (plain int) {
	t.Helper()
	got, want := NewDecoder[T](strict), NewDecoder[T](strict)
	want.plain = nil
	for _, line := range lines {
		text := []byte(line)
		err, wantErr := got.Decode(text), want.Decode(bytes.Clone(text))
		require.Equal(t, line, string(text), "the line was changed")
		if wantErr != nil {
			require.EqualError(t, err, wantErr.Error(), line)
			continue
		}
		require.NoError(t, err, line)
		require.Equal(t, want.into, got.into, line)
		if got.plain != nil && got.plain.decode(text) {
			plain++
		}
	}
	return plain
}

func TestDecoder_SameAsEncodingJSON(t *testing.T) {
	t.Parallel()
	require.Equal(t, 18, requireSame[many](t, manyLines, false))
	require.Equal(t, 13, requireSame[many](t, manyLines, true))
	// Types that plainLine does not read: two fields with one name, a tag with another option, and more.
	type pair struct {
		inner
		City int `json:"city"`
	}
	type quoted struct {
		ID int64 `json:"id,string"`
	}
	type pointing struct {
		*inner
		ID int `json:"id"`
	}
	require.Zero(t, requireSame[pair](t, append(manyLines, `{"city":1}`, `{"city":"x"}`), false))
	require.Zero(t, requireSame[quoted](t, append(manyLines, `{"id":"1"}`), false))
	require.Zero(t, requireSame[pointing](t, manyLines, false))
	require.Zero(t, requireSame[any](t, manyLines, false))
	require.Zero(t, requireSame[map[string]any](t, manyLines, true))
	require.Zero(t, requireSame[time.Time](t, append(manyLines, `"2024-01-02T03:04:05Z"`), false))
}

// A decoded record shares no memory with the next one.
func TestDecoder_SharesNothing(t *testing.T) {
	t.Parallel()
	dec := NewDecoder[many](false)
	var rows []many
	lines := []string{`{"name":"a\n","maybe":"b","num":1,"raw":[1],"any":["x"]}`, `{"name":"c\n","maybe":"d","num":2,"raw":[2],"any":["y"]}`, `{}`}
	for _, line := range lines {
		text := []byte(line)
		require.NoError(t, dec.Decode(text))
		rows = append(rows, *dec.into)
		clear(text)
	}
	for i, line := range lines {
		var want many
		require.NoError(t, json.Unmarshal([]byte(line), &want))
		require.Equal(t, want, rows[i])
	}
}

// FuzzDecoder requires the same values and errors as encoding/json.
func FuzzDecoder(f *testing.F) {
	for _, line := range manyLines {
		if len(line) < 1000 {
			f.Add(line, manyLines[0], false)
		}
	}
	f.Fuzz(func(t *testing.T, line, second string, strict bool) {
		// As lines of one file, so that the names of the previous line are used.
		requireSame[many](t, []string{line, second, line}, strict)
	})
}

// FuzzPlainValue puts any text in place of a value.
func FuzzPlainValue(f *testing.F) {
	row := reflect.TypeFor[many]()
	for i := range row.NumField() {
		name, _, _ := strings.Cut(row.Field(i).Tag.Get("json"), ",")
		for _, value := range []string{`"a\u00e9"`, `-1.5e3`, `12`, `true`, `null`, `"2024-01-02T03:04:05Z"`, `[{"a":"]"}]`} {
			f.Add(name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		requireSame[many](t, []string{`{"` + name + `":` + value + `,"id":5}`}, false)
	})
}
