package drivertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// test is one subtest on a database of its own.
type test struct {
	*testing.T
	db       Database
	features Features
	store    dataflow.Store // uses the database's clock
	together bool           // runs are claimed and ended by the statements for many
}

// lease is longer than any test.
const lease = time.Hour

// errUndo rolls a transaction back.
var errUndo = errors.New("roll back")

func newTest(t *testing.T, db Database, features Features, migrate bool) *test {
	t.Helper()
	s := &test{T: t, db: db, features: features}
	s.store = s.open(db.Driver(), dataflow.StoreOptions{})
	if migrate {
		require.NoError(t, s.store.Migrate(t.Context()))
	}
	return s
}

// open returns a store that does not log.
func (t *test) open(d dataflow.Driver, opts dataflow.StoreOptions) dataflow.Store {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	store, err := d.Store(opts)
	require.NoError(t, err)
	return store
}

// another returns the store of another process.
func (t *test) another() dataflow.Store {
	t.Helper()
	return t.open(t.db.Another(t.T), dataflow.StoreOptions{})
}

// clock is a clock that stands still.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// advance returns the new time.
func (c *clock) advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// clocked puts the test's store on a clock of its own.
func (t *test) clocked() *clock {
	t.Helper()
	c := &clock{now: time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC)}
	t.store = t.open(t.db.Driver(), dataflow.StoreOptions{Clock: c.Now})
	return c
}

func (t *test) exec(sql string) {
	t.Helper()
	require.NoError(t, t.db.Exec(t.Context(), sql), sql)
}

func (t *test) rows(sql string) [][]any {
	t.Helper()
	rows, err := t.db.Rows(t.Context(), sql)
	require.NoError(t, err, sql)
	return rows
}

// number returns the single number of a query.
func (t *test) number(sql string) int64 {
	t.Helper()
	rows := t.rows(sql)
	require.Len(t, rows, 1, sql)
	n, ok := rows[0][0].(int64)
	require.True(t, ok, "%s: %T is not int64", sql, rows[0][0])
	return n
}

// content returns all rows of all tables.
func (t *test) content() map[string][][]any {
	t.Helper()
	all := make(map[string][][]any)
	for _, table := range []string{"dataflow_flow", "dataflow_run", "dataflow_checkpoint", "dataflow_tick", "dataflow_process", "dataflow_cursor_change", "dataflow_total", "dataflow_upkeep", "dataflow_audit"} {
		all[table] = t.rows("select * from " + table + " order by 1, 2")
	}
	return all
}

// unchanged requires that fn changes nothing.
func (t *test) unchanged(fn func()) {
	t.Helper()
	before := t.content()
	fn()
	require.Equal(t, before, t.content())
}

func definition(name string) *dataflow.FlowDefinition {
	return &dataflow.FlowDefinition{
		Name:      name,
		Source:    json.RawMessage(`{"type":"numbers"}`),
		Sink:      json.RawMessage(`{"type":"table"}`),
		Runtime:   json.RawMessage(`{"type":"heartbeat","interval":60}`),
		Guarantee: "exactly_once", CodeVersion: "v1", Hash: "a1",
	}
}

// flow registers a flow.
func (t *test) flow(name string) *dataflow.FlowRecord {
	t.Helper()
	return t.upsert(definition(name))
}

// upsert registers a flow by its definition.
func (t *test) upsert(d *dataflow.FlowDefinition) *dataflow.FlowRecord {
	t.Helper()
	recs, err := t.store.FlowUpsert(t.Context(), d)
	require.NoError(t, err)
	require.Len(t, recs, 1)
	return recs[0]
}

// activity counts the runs of a flow.
func (t *test) activity(flowID int64) *dataflow.Activity {
	t.Helper()
	all, err := t.store.RunActivity(t.Context(), []int64{flowID})
	require.NoError(t, err)
	if a := all[flowID]; a != nil {
		require.Len(t, all, 1)
		return a
	}
	require.Empty(t, all)
	return &dataflow.Activity{}
}

func (t *test) flowByID(id int64) *dataflow.FlowRecord {
	t.Helper()
	rec, err := t.store.FlowByID(t.Context(), id)
	require.NoError(t, err)
	return rec
}

func (t *test) setState(flowID int64, state dataflow.FlowState) {
	t.Helper()
	_, err := t.store.FlowSetState(t.Context(), &dataflow.FlowStateParams{ID: flowID, State: state, Actor: "op", Reason: "because"})
	require.NoError(t, err)
}

// insert adds a run. Trigger and MaxAttempts have defaults.
func (t *test) insert(p dataflow.RunInsertParams) *dataflow.Run {
	t.Helper()
	if p.Trigger == "" {
		p.Trigger = dataflow.TriggerManual
	}
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 5
	}
	run, err := t.store.RunInsert(t.Context(), &p)
	require.NoError(t, err)
	return run
}

// pending adds a run that is due and worked without River.
func (t *test) pending(flowID int64) *dataflow.Run {
	t.Helper()
	return t.insert(dataflow.RunInsertParams{FlowID: flowID})
}

func (t *test) run(id int64) *dataflow.Run {
	t.Helper()
	run, err := t.store.RunByID(t.Context(), id)
	require.NoError(t, err)
	return run
}

// requireTime compares times to the millisecond, and requires UTC.
func (t *test) requireTime(want time.Time, got *time.Time) {
	t.Helper()
	require.NotNil(t, got)
	require.Equal(t, want.UTC().Truncate(time.Millisecond), got.Truncate(time.Millisecond))
}

// requireNow requires the present time of the database's clock, which may differ from ours.
func (t *test) requireNow(got *time.Time) {
	t.Helper()
	require.NotNil(t, got)
	require.WithinDuration(t, time.Now(), *got, time.Minute)
	require.Equal(t, time.UTC, got.Location())
}

func ids(runs []*dataflow.Run) []int64 {
	all := make([]int64, len(runs))
	for i, run := range runs {
		all[i] = run.ID
	}
	return all
}

func raw(format string, args ...any) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(format, args...))
}
