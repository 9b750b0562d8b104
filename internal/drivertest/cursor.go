package drivertest

import (
	"encoding/json"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func cursorRules() []rule {
	return []rule{
		{name: "Exact", run: cursorExact},
		{name: "None", run: cursorNone},
		{name: "NilLeavesIt", run: cursorNilLeavesIt},
		{name: "FromOfFirstCheckpoint", run: cursorFrom},
		{name: "OfNextRun", run: cursorOfNextRun},
		{name: "Null", run: cursorNull},
		{name: "Empty", run: cursorEmpty},
	}
}

// cursors must come back byte by byte: with a rounded number or a changed text, a run would
// resume at another place.
func cursors() []string {
	return []string{
		`0`, `-1`, `9007199254740993`, `123456789012345678901234567890`, `1.0`, `1e2`, `0.1000`, `-0`, `true`, `null`,
		`""`, `"null"`, `"é日本😀"`, `"e\u0301 \u00e9 \u0000 \ud83d\ude00 \/ \u2028"`, `"it's \"q\" \\ $1 ? {s}{now}"`,
		`[]`, `[[1,[2.50,null]],{"b":1,"a":[{"z":"","y":{}}]}]`, `{}`, `{"a":1,"a":2}`, ` { "spaced" : [ 1 , 2 ] } `,
		`{"updated_at":"2026-03-29T02:30:00.123456789+05:30","id":9223372036854775807}`,
	}
}

// requireCursor compares byte by byte.
func (t *test) requireCursor(want string, got json.RawMessage) {
	t.Helper()
	require.NotNil(t, got)
	require.Equal(t, want, string(got))
}

func cursorExact(t *test) {
	f := t.flow("orders")
	last := ""
	for i, cursor := range cursors() {
		c := t.inProgress(f.ID)
		if i > 0 {
			require.Equal(t, last, string(c.Cursor), "in the claim")
		}
		p := progress(c)
		p.From, p.Cursor = c.Cursor, raw("%s", cursor)
		t.requireHeld(p)
		run := t.end(ending(c, dataflow.RunSuccess))
		t.requireCursor(cursor, run.ToCursor)
		require.Equal(t, last, string(run.FromCursor))
		last = cursor
	}
}

func cursorNone(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	require.Nil(t, c.Cursor)
	t.requireHeld(progress(c))
	run := t.end(ending(c, dataflow.RunSuccess))
	require.Nil(t, run.FromCursor)
	require.Nil(t, run.ToCursor)
	require.Nil(t, t.inProgress(f.ID).Cursor)
}

func cursorNilLeavesIt(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `{"id":7}`, dataflow.Counters{})
	t.checkpoint(c, "", dataflow.Counters{Read: 1, Dropped: 1})
	t.requireCursor(`{"id":7}`, t.run(c.Run.ID).ToCursor)
	t.end(ending(c, dataflow.RunSuccess))
	c = t.inProgress(f.ID)
	t.requireCursor(`{"id":7}`, c.Cursor)
	require.Nil(t, c.Run.ToCursor, "this run has committed no cursor")
}

// The first checkpoint of a run stores where the run began. JSON null is the beginning.
func cursorFrom(t *test) {
	c := t.inProgress(t.flow("orders").ID)
	for _, from := range []string{"null", "7", `"x"`} {
		p := progress(c)
		p.From = raw("%s", from)
		t.requireHeld(p)
		c.Seq++
		t.requireCursor("null", t.run(c.Run.ID).FromCursor)
	}
	t.end(ending(c, dataflow.RunPending))
	c = t.claim(c.Run.ID)
	p := progress(c)
	p.From = raw("8")
	t.requireHeld(p)
	t.requireCursor("null", t.run(c.Run.ID).FromCursor)
}

func cursorOfNextRun(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, dataflow.Counters{})
	t.end(failing(c, dataflow.RunFailed, "disk full"))
	t.requireCursor("7", t.inProgress(f.ID).Cursor)
	require.Nil(t, t.inProgress(g.ID).Cursor)
}

// JSON null is a cursor like any other.
func cursorNull(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, dataflow.Counters{})
	t.checkpoint(c, `null`, dataflow.Counters{})
	run := t.end(ending(c, dataflow.RunSuccess))
	t.requireCursor("null", run.ToCursor)
	t.requireCursor("null", t.inProgress(f.ID).Cursor)
}

// On every database, an empty cursor is no cursor.
func cursorEmpty(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	p := progress(c)
	p.From, p.Cursor = json.RawMessage{}, json.RawMessage{}
	t.requireHeld(p)
	run := t.end(ending(c, dataflow.RunSuccess))
	require.Nil(t, run.FromCursor)
	require.Nil(t, run.ToCursor)
	require.Nil(t, t.inProgress(f.ID).Cursor)
}
