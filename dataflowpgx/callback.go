package dataflowpgx

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// A flow's row is written once an hour at most. The rows are locked in the order in which
// registration locks them.
const sqlCallbackKeep = `
update {s}dataflow_flow f set callback_until = {now} + $2::bigint * interval '1 microsecond'
from (
	select id from {s}dataflow_flow
	where id = any($1) and coalesce(callback_until, '-infinity') < {now} + $2::bigint * interval '1 microsecond' - interval '1 hour'
	order by id for no key update) k
where f.id = k.id`

const sqlCallbackDue = `select exists (select from {s}dataflow_run where callback_at <= {now})`

// Those that a process was slow with are taken by another one when their lease is over.
const sqlCallbackTake = `
with due as (
	select id from {s}dataflow_run where callback_at <= {now} and flow_id = any($1)
	order by callback_at, id limit $2 for no key update skip locked
), r as (
	update {s}dataflow_run r set callback_at = {clock} + $3::bigint * interval '1 microsecond', callback_tries = r.callback_tries + 1, callback_error = ''
	from due where r.id = due.id returning r.*
)
select ` + runColumns + `, r.callback_tries from r join {s}dataflow_flow f on f.id = r.flow_id order by r.ended_at, r.id`

const sqlCallbackDone = `
update {s}dataflow_run
set callback_at = case when $3 then '9999-12-31 00:00:00+00' when $4 = '' then null else {clock} + $5::bigint * interval '1 microsecond' end,
	callback_error = $4
where id = $1 and callback_tries = $2 and callback_at < '9999-12-31 00:00:00+00'`

const sqlCallbackList = `
select r.id, r.flow_id, f.name, r.state, r.ended_at, r.callback_at, r.callback_tries, r.callback_error
from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.callback_at is not null and ($1 = 0 or r.flow_id = $1) and (not $2 or r.callback_at = '9999-12-31 00:00:00+00')
order by r.callback_at, r.id limit $3`

func (q *queries) CallbackKeep(ctx context.Context, flowIDs []int64, keep time.Duration) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlCallbackKeep), flowIDs, keep.Microseconds())
	return err
}

// idsCheap is how many ids are sent without a look whether that is needed.
const idsCheap = 100

func (q *queries) CallbackTake(ctx context.Context, p *dataflow.CallbackTakeParams) ([]*dataflow.CallbackTry, error) {
	if len(p.FlowIDs) > idsCheap {
		var due bool
		if err := q.db.QueryRow(ctx, q.store.text(sqlCallbackDue)).Scan(&due); err != nil || !due {
			return nil, err
		}
	}
	rows, err := q.db.Query(ctx, q.store.text(sqlCallbackTake), p.FlowIDs, p.Limit, p.Lease.Microseconds())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.CallbackTry, error) {
		var tries int
		run, err := scanRun(row, &tries)
		return &dataflow.CallbackTry{Run: run, Tries: tries}, err
	})
}

func (q *queries) CallbackDone(ctx context.Context, p *dataflow.CallbackDoneParams) (bool, error) {
	err := q.one(ctx, sqlCallbackDone, p.RunID, p.Tries, p.GiveUp, p.Error, p.Delay.Microseconds())
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (q *queries) CallbackList(ctx context.Context, p *dataflow.CallbackListParams) ([]*dataflow.UntoldRun, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlCallbackList), p.FlowID, p.GivenUp, p.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.UntoldRun, error) {
		var u dataflow.UntoldRun
		var state string
		err := row.Scan(&u.RunID, &u.FlowID, &u.FlowName, &state, &u.EndedAt, &u.NextAt, &u.Tries, &u.Error)
		utc(&u.EndedAt, &u.NextAt)
		u.State = dataflow.RunState(state)
		return &u, err
	})
}
