package dataflowpgx

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) RunInsert(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return driverkit.RunInsert(ctx, q, p)
}

func (q *queries) RunInsertMany(ctx context.Context, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error) {
	return driverkit.RunInsertMany(ctx, q, ps)
}

// InsertRun implements driverkit.RunInserter.
func (q *queries) InsertRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	run, err := scanInserted(q.db.QueryRow(ctx, q.store.text(sqlRunInsert), insertArgs(p)...), p)
	if err != nil {
		return nil, err
	}
	return run, q.ownScope(ctx, p, run)
}

// insertArgs returns the arguments of sqlRunInsert.
func insertArgs(p *dataflow.RunInsertParams) []any {
	var at *time.Time
	if !p.At.IsZero() {
		at = &p.At
	}
	return []any{
		p.FlowID, string(p.Trigger), nullText(p.UniqueKey), at, p.MaxAttempts, p.Queue, nullID(p.RiverJobID), p.Actor, p.Reason,
		p.Scope, nullJSON(p.Params), nullJSON(p.From), nullJSON(p.Until), p.ReserveJob, nullJSON(p.Runtime), p.Quiet, p.TraceParent,
	}
}

// scanInserted reads insertedColumns of the run that p was added as.
func scanInserted(row pgx.Row, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	run := &dataflow.Run{FlowID: p.FlowID, Errors: []dataflow.AttemptError{}}
	if err := row.Scan(&run.ID, &run.FlowName, &run.ScheduledFor, &run.CreatedAt, &run.RiverJobID, nil); err != nil {
		return nil, notFound(err)
	}
	fillInserted(run, p)
	return run, nil
}

// fillInserted sets what a new run has of p.
func fillInserted(run *dataflow.Run, p *dataflow.RunInsertParams) {
	utc(&run.ScheduledFor, &run.CreatedAt)
	run.RunAfter, run.State, run.Trigger, run.MaxAttempts = run.ScheduledFor, dataflow.RunPending, p.Trigger, p.MaxAttempts
	run.Queue, run.Actor, run.Reason, run.Scope, run.TraceParent = p.Queue, p.Actor, p.Reason, p.Scope, p.TraceParent
	run.Params, run.FromCursor, run.UntilCursor = rawJSON(nullJSON(p.Params)), rawJSON(nullJSON(p.From)), rawJSON(nullJSON(p.Until))
}

// ownScope gives a new backfill a checkpoint of its own.
func (q *queries) ownScope(ctx context.Context, p *dataflow.RunInsertParams, run *dataflow.Run) error {
	if !p.Backfill || p.Scope != "" {
		return nil
	}
	return q.db.QueryRow(ctx, q.store.text(sqlRunOwnScope), run.ID).Scan(&run.Scope)
}

// waitingKey is what the waiting runs differ by.
type waitingKey struct {
	flow int64
	key  string
}

func keyOf(p *dataflow.RunInsertParams) waitingKey { return waitingKey{p.FlowID, p.UniqueKey} }

// InsertRuns implements driverkit.RunsInserter.
func (q *queries) InsertRuns(ctx context.Context, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlRunInsertMany), insertColumns(firstOfKey(ps))...)
	if err != nil {
		return nil, err
	}
	added := make(map[waitingKey]*dataflow.Run, len(ps))
	run, key := &dataflow.Run{}, ""
	_, err = pgx.ForEachRow(rows, []any{&run.ID, &run.FlowName, &run.ScheduledFor, &run.CreatedAt, &run.RiverJobID, nil, &run.FlowID, &key}, func() error {
		one := *run
		added[waitingKey{one.FlowID, key}] = &one
		return nil
	})
	if err != nil {
		return nil, err
	}
	runs := make([]*dataflow.Run, len(ps))
	taken := make(map[waitingKey]*dataflow.Run, len(added))
	var missing []*dataflow.RunInsertParams
	for i, p := range ps {
		first, run := taken[keyOf(p)], added[keyOf(p)]
		switch {
		case first != nil: // an earlier one of ps has added it
			again := *first
			again.Coalesced = true
			runs[i] = &again
		case run != nil:
			run.Errors = []dataflow.AttemptError{}
			fillInserted(run, p)
			runs[i], taken[keyOf(p)] = run, run
		default:
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return runs, nil
	}
	waiting, err := q.waitingRuns(ctx, missing)
	for i, p := range ps {
		if w := waiting[keyOf(p)]; w != nil && runs[i] == nil {
			again := *w
			again.Coalesced = true
			runs[i] = &again
		}
	}
	return runs, err
}

// firstOfKey leaves out those of ps that coalesce with an earlier one.
func firstOfKey(ps []*dataflow.RunInsertParams) []*dataflow.RunInsertParams {
	seen := make(map[waitingKey]bool, len(ps))
	return slices.DeleteFunc(slices.Clone(ps), func(p *dataflow.RunInsertParams) bool {
		again := seen[keyOf(p)]
		seen[keyOf(p)] = true
		return again
	})
}

// waitingRuns is WaitingRun for each of ps.
func (q *queries) waitingRuns(ctx context.Context, ps []*dataflow.RunInsertParams) (map[waitingKey]*dataflow.Run, error) {
	flows, keys, runtimes := make([]int64, len(ps)), make([]string, len(ps)), make([]*string, len(ps))
	for i, p := range ps {
		flows[i], keys[i], runtimes[i] = p.FlowID, p.UniqueKey, nullJSON(p.Runtime)
	}
	rows, err := q.db.Query(ctx, q.store.text(sqlRunWaitingMany), flows, keys, runtimes)
	if err != nil {
		return nil, err
	}
	found := make(map[waitingKey]*dataflow.Run, len(ps))
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var key string
		run, err := scanRun(row, &key)
		if err == nil {
			found[waitingKey{run.FlowID, key}] = run
		}
		return struct{}{}, err
	})
	return found, err
}

// insertColumns returns the arguments of sqlRunInsertMany: insertArgs of each of ps, by column.
func insertColumns(ps []*dataflow.RunInsertParams) []any {
	n := len(ps)
	flows, jobs, attempts, ats, reserve := make([]int64, n), make([]*int64, n), make([]int, n), make([]*time.Time, n), make([]bool, n)
	var texts [11][]*string
	for c := range texts {
		texts[c] = make([]*string, n)
	}
	for i, p := range ps {
		flows[i], jobs[i], attempts[i], reserve[i] = p.FlowID, nullID(p.RiverJobID), p.MaxAttempts, p.ReserveJob
		if !p.At.IsZero() {
			ats[i] = &p.At
		}
		trigger := string(p.Trigger)
		for c, text := range []*string{&trigger, nullText(p.UniqueKey), &p.Queue, &p.Actor, &p.Reason, &p.Scope, nullJSON(p.Params), nullJSON(p.From), nullJSON(p.Until), nullJSON(p.Runtime), &p.TraceParent} {
			texts[c][i] = text
		}
	}
	quiet := !slices.ContainsFunc(ps, func(p *dataflow.RunInsertParams) bool { return !p.Quiet })
	return []any{flows, texts[0], texts[1], ats, attempts, texts[2], jobs, texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], reserve, texts[9], texts[10], quiet}
}

// WaitingRun implements driverkit.RunInserter.
func (q *queries) WaitingRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunWaiting), p.FlowID, p.UniqueKey, nullJSON(p.Runtime)))
}

// TickRun implements driverkit.RunInserter.
func (q *queries) TickRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByTick), p.FlowID, p.At))
}

func (q *queries) RunSetJob(ctx context.Context, runID, jobID int64, queue string) error {
	return q.one(ctx, sqlRunSetJob, runID, nullID(jobID), queue)
}

func (q *queries) RunWaits(ctx context.Context, p *dataflow.RunWaitsParams) error {
	narrow := q.store.pool.narrow.Load()
	_, err := q.db.Exec(ctx, q.store.text(sqlRunWaits), p.RunID, p.LeaseNumber, string(p.State), storable(narrow, p.For), p.Ago.Microseconds(), p.Advanced)
	return q.store.pool.lacks(narrow, err)
}

func (q *queries) RunByID(ctx context.Context, id int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByID), id))
}

func (q *queries) RunByJob(ctx context.Context, jobID int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByJob), jobID))
}

func (q *queries) RunList(ctx context.Context, p *dataflow.RunListParams) ([]*dataflow.Run, error) {
	query, args := runListQuery(p)
	return q.runs(ctx, query, args...)
}

func runListQuery(p *dataflow.RunListParams) (query string, args []any) {
	return driverkit.RunList(p, driverkit.RunListDialect{
		Mark: "$", NoOrder: " offset 0", Lateral: true, Columns: runColumns, Age: dueFor(p.Due, p.Overdue),
		DueAt: func(age string) string { return "{now} - " + age + "::bigint * interval '1 microsecond'" },
		Table: func(texts string) string { return "unnest(" + texts + "::text[]) s (text)" }, Item: "s.text",
		Texts: func(texts []string) any { return texts },
	})
}

func (q *queries) RunsLast(ctx context.Context, flowIDs []int64, limit int) ([]*dataflow.RunSummary, error) {
	query, args := runsLastQuery(flowIDs, limit)
	rows, err := q.db.Query(ctx, q.store.text(query), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.RunSummary, error) {
		var r dataflow.RunSummary
		var state, trigger string
		err := row.Scan(&r.ID, &r.FlowID, &state, &trigger, &r.CreatedAt, &r.StartedAt, &r.EndedAt, &r.Read, &r.Written)
		utc(&r.CreatedAt, r.StartedAt, r.EndedAt)
		r.State, r.Trigger = dataflow.RunState(state), dataflow.Trigger(trigger)
		return &r, err
	})
}

// runsLastQuery is the query of a list of runs, for each flow.
func runsLastQuery(flowIDs []int64, limit int) (query string, args []any) {
	one, args := driverkit.RunList(&dataflow.RunListParams{Limit: limit}, driverkit.RunListDialect{
		Mark: "$", NoOrder: " offset 0", Lateral: true, Columns: summaryColumns, Alone: true, Flow: "w.flow_id",
	})
	args = append(args, flowIDs)
	return fmt.Sprintf("select one.* from unnest($%d::bigint[]) w (flow_id) cross join lateral (\n%s) one\norder by one.id desc", len(args), one), args
}

func (q *queries) RunLive(ctx context.Context, flowID int64) ([]*dataflow.Run, error) {
	return byIndexes(ctx, q, sqlRunLive, []any{flowID}, scanOneRun)
}

func (q *queries) RunWaiting(ctx context.Context, flowID int64, keyPrefix string) ([]*dataflow.Run, error) {
	return byIndexes(ctx, q, sqlRunWaitingLike, []any{flowID, keyPrefix}, scanOneRun)
}

func (q *queries) RunDue(ctx context.Context, p *dataflow.RunDueParams) ([]*dataflow.Run, error) {
	template, args, err := runDueQuery(p)
	if err != nil {
		return nil, err
	}
	return byIndexes(ctx, q, template, args, scanOneRun)
}

func runDueQuery(p *dataflow.RunDueParams) (template string, args []any, err error) {
	slots := make(map[string][2]int, len(p.Slots))
	for _, f := range p.Slots {
		slots[strconv.FormatInt(f.FlowID, 10)] = [2]int{max(f.Slots, 1), f.Backfills}
	}
	given, err := json.Marshal(slots)
	args = []any{string(given), p.After.At, p.After.ID, p.Limit}
	if p.FlowIDs != nil {
		return sqlRunDueOf, append(args, p.FlowIDs), err
	}
	return sqlRunDue, args, err
}

// byIndexes reads rows after sqlByIndexes, in one message. In the caller's transaction the settings
// are as before after that.
func byIndexes[T any](ctx context.Context, q *queries, template string, args []any, scan pgx.RowToFunc[T]) (all []T, err error) {
	var b pgx.Batch
	if q.callers {
		b.Queue(sqlKeepSettings)
	}
	b.Queue(sqlByIndexes)
	b.Queue(q.store.text(template), args...).Query(func(rows pgx.Rows) error {
		all, err = pgx.CollectRows(rows, scan)
		return err
	})
	if q.callers {
		b.Queue(sqlRestoreSettings)
	}
	err = q.db.SendBatch(ctx, &b).Close()
	return all, err
}

// one runs a statement that must change one row.
func (q *queries) one(ctx context.Context, template string, args ...any) error {
	tag, err := q.db.Exec(ctx, q.store.text(template), args...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return dataflow.ErrNotFound
	}
	return nil
}

func (q *queries) runs(ctx context.Context, template string, args ...any) ([]*dataflow.Run, error) {
	rows, err := q.db.Query(ctx, q.store.text(template), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOneRun)
}

func scanOneRun(row pgx.CollectableRow) (*dataflow.Run, error) { return scanRun(row) }

// scanRun reads runColumns, and into more the columns after them.
func scanRun(row pgx.Row, more ...any) (*dataflow.Run, error) {
	var (
		r              dataflow.Run
		state, trigger string
		from, to       *string
		params, until  *string
		history        string
	)
	c := &r.Counters
	err := row.Scan(append(append(make([]any, 0, 48), // so that it does not grow
		&r.ID, &r.FlowID, &r.FlowName, &state, &trigger, &r.ScheduledFor, &r.RunAfter, &r.CreatedAt,
		&r.StartedAt, &r.EndedAt, &r.Attempt, &r.MaxAttempts, &r.Worker, &r.LeaseNumber, &r.LeaseUntil,
		&r.Queue, &r.RiverJobID,
		&c.Read, &c.Written, &c.Redundant, &c.Filtered, &c.Dropped, &c.DeadLettered,
		&r.Total, &from, &to, &r.Error, &history, &r.Actor, &r.Reason, &r.CodeVersion,
		&r.Rescues, &r.CancelRequestedAt, &r.CancelledBy, &r.CancelReason, &r.Slot, &c.Updated, &c.ReadAgain,
		&r.Scope, &params, &until, &r.WaitsFor, &r.WaitsSince, &r.TraceParent,
	), more...)...)
	if err != nil {
		return nil, notFound(err)
	}
	utc(&r.ScheduledFor, &r.RunAfter, &r.CreatedAt, r.StartedAt, r.EndedAt, r.LeaseUntil, r.CancelRequestedAt, r.WaitsSince)
	r.State, r.Trigger = dataflow.RunState(state), dataflow.Trigger(trigger)
	r.FromCursor, r.ToCursor, r.UntilCursor, r.Params = rawJSON(from), rawJSON(to), rawJSON(until), rawJSON(params)
	if history == "[]" { // as it mostly is
		r.Errors = []dataflow.AttemptError{}
	} else if err := json.Unmarshal([]byte(history), &r.Errors); err != nil {
		return nil, fmt.Errorf("read errors of run %d: %w", r.ID, err)
	}
	return &r, nil
}

// utc converts times to UTC; pgx reads them in the zone of this process.
func utc(times ...*time.Time) {
	for _, t := range times {
		if t != nil {
			*t = t.UTC()
		}
	}
}

func nullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nullID(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

func nullJSON(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	return nullText(string(raw))
}

func rawJSON(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}
