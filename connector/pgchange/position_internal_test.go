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

// A read that begins again notes the tables that are loaded, and leaves the place in the one that
// is loaded in part.
func TestPosition_InPart(t *testing.T) {
	t.Parallel()
	a, b := &table{name: "public.a", id: "1", keyID: "id"}, &table{name: "public.b", id: "2", keyID: "id"}
	p := Position{Loaded: Loaded{"public.a": "1"}, Table: "public.b", TableID: "2 id", After: []string{"7"}}
	r := &reader[struct{ ID int64 }]{s: &source[struct{ ID int64 }]{}, published: published{tables: []*table{a, b}}, pos: p}
	require.NoError(t, r.renew(t.Context()))
	require.Equal(t, p, r.pos)
	r.pos.load(b)
	require.Equal(t, Position{Loaded: Loaded{"public.a": "1", "public.b": "2"}}, r.pos)

	// If that one was made anew meanwhile, both are loaded again, after a truncate.
	r.pos = p
	b.id = "3"
	var truncated []string
	r.yield = func(item change[struct{ ID int64 }], _ error) bool {
		truncated = append(truncated, item.Value.Table)
		return true
	}
	require.NoError(t, r.renew(t.Context()))
	require.Equal(t, []string{"public.a", "public.b"}, truncated)
	require.Equal(t, Position{Loaded: Loaded{}}, r.pos)

	// So they are if its load went by another key.
	r.pos, truncated = p, nil
	b.id, b.keyID = "2", "other"
	require.NoError(t, r.renew(t.Context()))
	require.Equal(t, []string{"public.a", "public.b"}, truncated)
}
