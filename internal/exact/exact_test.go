package exact_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/exact"
)

type tree struct {
	Left, Right *tree
	N           int64
}

type loose struct {
	ID    int64
	Extra map[string]any
	More  []struct{ V any }
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	var v loose
	require.NoError(t, exact.Unmarshal([]byte(`{"ID":1610521604143693812,"Extra":{"n":12345678901234567890,"f":1.10},"More":[{"V":1e400}]}`), &v))
	require.Equal(t, loose{1610521604143693812, map[string]any{"n": json.Number("12345678901234567890"), "f": json.Number("1.10")}, []struct{ V any }{{json.Number("1e400")}}}, v)
	for _, bad := range []string{"", "{", `{"ID":1}{}`, `{"ID":"x"}`, "nul"} {
		var a, b loose
		want := json.Unmarshal([]byte(bad), &a)
		require.Error(t, want)
		require.EqualError(t, exact.Unmarshal([]byte(bad), &b), want.Error())
	}
	var a any
	require.NoError(t, exact.Strict([]byte(`9007199254740993`), &a))
	require.Equal(t, json.Number("9007199254740993"), a)
	require.Error(t, exact.Strict([]byte(`{"Id":1,"Other":2}`), &v))
	require.Error(t, exact.Strict([]byte(`1 2`), &a))
}

func TestHasInterface(t *testing.T) {
	t.Parallel()
	for typ, want := range map[reflect.Type]bool{
		reflect.TypeFor[tree](): false, reflect.TypeFor[*loose](): true, reflect.TypeFor[time.Time](): false, reflect.TypeFor[big.Int](): false,
		reflect.TypeFor[map[string][]any](): true, reflect.TypeFor[[]json.RawMessage](): false, reflect.TypeFor[json.Number](): false,
	} {
		require.Equal(t, want, exact.HasInterface(typ), typ.String())
		require.Equal(t, want, exact.HasInterface(typ), typ.String())
	}
}
