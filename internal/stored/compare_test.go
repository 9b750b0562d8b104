package stored_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/stored"
)

func TestComparer(t *testing.T) {
	t.Parallel()
	var c stored.Comparer
	for range 2 { // the second time it remembers
		for _, tc := range []struct {
			a, b json.RawMessage
			same bool
		}{
			{nil, nil, true},
			{nil, raw(`null`), false},
			{raw(`null`), nil, false},
			{raw(`{"a":1,"b":[2]}`), raw(`{ "b": [2], "a": 1.0 }`), true},
			{raw(`{"a":1}`), raw(`{"a":2}`), false},
			{raw(`[1,2]`), raw(`[2,1]`), false},
			{raw(`{`), raw(`{`), false},
		} {
			require.Equal(t, tc.same, c.Same(tc.a, tc.b), "%s and %s", tc.a, tc.b)
		}
	}
	for i := range 20_100 { // more than it remembers
		require.True(t, c.Same(raw(strconv.Itoa(i)), raw(" "+strconv.Itoa(i))))
	}
}
