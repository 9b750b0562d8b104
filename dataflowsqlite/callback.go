package dataflowsqlite

import (
	"context"
	"errors"
	"time"

	"github.com/activedataflow/dataflow"
)

// callbackKept says that the end of a run, in the table dataflow_run, is kept to be told.
const callbackKept = `exists (select 1 from dataflow_flow k where k.id = dataflow_run.flow_id and k.callback_until > {now})`

// A flow's row is written once an hour at most.
const sqlCallbackKeep = `
update dataflow_flow set callback_until = strftime('%Y-%m-%d %H:%M:%f', {now}, ?2 || ' seconds')
where id in (select value from json_each(?1))
	and coalesce(callback_until, '') < strftime('%Y-%m-%d %H:%M:%f', {now}, ?2 || ' seconds', '-1 hour')`

// It is looked for before anything is written, because a write locks the database.
const sqlCallbackDue = `
select id from dataflow_run indexed by dataflow_run_callback
where callback_at is not null and callback_at <= {now} and flow_id in (select value from json_each(?1))
order by callback_at, id limit ?2`

// Those that a process was slow with are taken by another one when their lease is over.
const sqlCallbackTake = `
update dataflow_run set callback_at = strftime('%Y-%m-%d %H:%M:%f', {now}, ?2 || ' seconds'), callback_tries = callback_tries + 1, callback_error = ''
where id = ?1 and callback_at <= {now}
returning callback_tries`

const sqlCallbackDone = `
update dataflow_run
set callback_at = case when ?3 then '9999-12-31 00:00:00.000' when ?4 = '' then null else strftime('%Y-%m-%d %H:%M:%f', {now}, ?5 || ' seconds') end,
	callback_error = ?4
where id = ?1 and callback_tries = ?2 and callback_at < '9999-12-31'`

const sqlCallbackList = `
select r.id, r.flow_id, f.name, r.state, r.ended_at, r.callback_at, r.callback_tries, r.callback_error
from dataflow_run r indexed by dataflow_run_callback join dataflow_flow f on f.id = r.flow_id
where r.callback_at is not null and (?1 = 0 or r.flow_id = ?1) and (not ?2 or r.callback_at >= '9999-12-31')
order by r.callback_at, r.id limit ?3`

func (q *queries) CallbackKeep(ctx context.Context, flowIDs []int64, keep time.Duration) error {
	ids, err := jsonArray(flowIDs)
	if err != nil {
		return err
	}
	_, err = q.db.ExecContext(ctx, q.store.text(sqlCallbackKeep), ids, secondsText(keep))
	return err
}

func (q *queries) CallbackTake(ctx context.Context, p *dataflow.CallbackTakeParams) ([]*dataflow.CallbackTry, error) {
	flows, err := jsonArray(p.FlowIDs)
	if err != nil {
		return nil, err
	}
	due, err := collect(ctx, q, func(row scanner) (id int64, err error) { return id, row.Scan(&id) }, sqlCallbackDue, flows, p.Limit)
	if err != nil {
		return nil, err
	}
	var taken []*dataflow.CallbackTry
	for _, id := range due {
		try := &dataflow.CallbackTry{}
		err := notFound(q.db.QueryRowContext(ctx, q.store.text(sqlCallbackTake), id, secondsText(p.Lease)).Scan(&try.Tries))
		if errors.Is(err, dataflow.ErrNotFound) { // another process was faster
			continue
		}
		if err == nil {
			try.Run, err = q.RunByID(ctx, id)
		}
		if err != nil {
			return taken, err
		}
		taken = append(taken, try)
	}
	return taken, nil
}

func (q *queries) CallbackDone(ctx context.Context, p *dataflow.CallbackDoneParams) (bool, error) {
	err := q.one(ctx, sqlCallbackDone, p.RunID, p.Tries, p.GiveUp, p.Error, secondsText(p.Delay))
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (q *queries) CallbackList(ctx context.Context, p *dataflow.CallbackListParams) ([]*dataflow.UntoldRun, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.UntoldRun, error) {
		var u dataflow.UntoldRun
		err := row.Scan(&u.RunID, &u.FlowID, &u.FlowName, &u.State, timeText{&u.EndedAt}, timeText{&u.NextAt}, &u.Tries, &u.Error)
		return &u, err
	}, sqlCallbackList, p.FlowID, p.GivenUp, p.Limit)
}
