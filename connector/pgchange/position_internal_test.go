package pgchange

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// A cursor that knows tables only by their names, as cursors did at first, goes on.
func TestPosition_Names(t *testing.T) {
	t.Parallel()
	a, b := &table{name: "public.a", id: "1.2"}, &table{name: "public.b", id: "3.2"}
	var p Position
	require.NoError(t, json.Unmarshal([]byte(`{"lsn":"0/10","loaded":["public.a"],"table":"public.b","after":["7"]}`), &p))
	require.True(t, p.isLoaded(a))
	require.False(t, p.replaced(a))
	require.False(t, p.isLoaded(b))
	require.False(t, p.replaced(b), "its load goes on")
	p.load(a)
	data, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(data), `"loaded":{"public.a":"1.2"}`)
	p = Position{}
	require.NoError(t, json.Unmarshal(data, &p))
	require.Equal(t, Loaded{"public.a": "1.2"}, p.Loaded)
	require.Error(t, json.Unmarshal([]byte(`{"loaded":7}`), &p))
}
