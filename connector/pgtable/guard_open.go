package pgtable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// OpenTransactions leaves the rows to a later read whose key is not before the
// start of the oldest transaction that is open in this database. The key begins
// with a time that the writing transaction has set to now() or
// clock_timestamp(). Both are never before the transaction's start, so that no
// row can appear before that of the oldest open one.
//
// The reading role must see when the transactions of others have started:
//
//	grant pg_read_all_stats to reader
//
// or all transactions must be of the reading role. A read that finds one whose
// start it may not see ends with an error.
type OpenTransactions struct {
	// Grace is how much earlier than the start of its transaction a key may be.
	// Times that are cut to seconds, as by date_trunc('second', now()), need a
	// second; times from the writers' own clocks need what these may be slow. 0
	// is right for now() and clock_timestamp().
	Grace time.Duration

	// Patience is how long one transaction may hold rows back. If it does so
	// for longer, then a read ends, behind the last row that may be read, with
	// an error that names the transaction. 0: an hour. Negative: for ever.
	Patience time.Duration

	// UTC says that a key column of the type timestamp, which has no time zone,
	// holds times in UTC. Without it such a column is refused.
	UTC bool
}

const (
	defaultPatience = time.Hour

	// settle is the time between reading the clock and looking for transactions
	// that are older. A session takes the time at which its transaction starts
	// before it shows it; this is the time that it has for that. It also lets
	// short transactions end, which so hold nothing back.
	settle = 20 * time.Millisecond

	// settles is how often a settle is waited for transactions to end whose
	// start cannot be seen.
	settles = 10
)

const clockQuery = `select (extract(epoch from clock_timestamp()) * 1000000)::bigint`

// sessions are the other sessions in this database. Autovacuum, which has no
// user, writes no rows. Of a session that runs a statement and has no
// transaction, the next one starts at the statement's time, as by "commit and
// chain", or later.
const sessions = `
	select pid, coalesce(usename::text, '') as role, coalesce(application_name, '') as application, coalesce(state, '') as state,
		coalesce(xact_start, case when backend_type = 'client backend' and state not in ('idle', 'disabled') then query_start end) as since,
		backend_type is null as hidden,
		xact_start is null and state in ('disabled', 'idle in transaction', 'idle in transaction (aborted)') as untracked
	from pg_catalog.pg_stat_activity
	where datid = (select oid from pg_catalog.pg_database where datname = current_database())
		and pid <> pg_backend_pid() and usesysid is not null`

const oldestQuery = `
with session as materialized (` + sessions + `
)
select pg_is_in_recovery(), current_setting('max_prepared_transactions')::int > 0,
	exists (select from session where hidden or untracked),
	(extract(epoch from oldest.since) * 1000000)::bigint, coalesce(oldest.pid, 0), coalesce(oldest.role, ''), coalesce(oldest.application, ''), coalesce(oldest.state, '')
from (select) one
left join lateral (select * from session where since is not null order by since limit 1) oldest on true`

// preparedQuery finds the oldest prepared transaction. When it has started is
// recorded nowhere.
const preparedQuery = `
select gid, coalesce(owner::text, ''), (extract(epoch from prepared) * 1000000)::bigint
from pg_catalog.pg_prepared_xacts
where database = current_database()
order by prepared limit 1`

// unseenQuery finds transactions whose start cannot be seen. Everybody may see
// that there are transactions: each holds the lock of its virtual ID. $1 are
// the IDs that matter; null: all.
const unseenQuery = `
with session as materialized (` + sessions + `
)
select l.virtualtransaction, s.pid, s.role, s.hidden, current_user::text
from session s
join pg_catalog.pg_locks l on l.pid = s.pid and l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and l.granted
where (s.hidden or s.untracked) and ($1::text[] is null or l.virtualtransaction = any($1))
order by s.pid`

func (g OpenTransactions) String() string { return fmt.Sprintf("open transactions, grace %v", g.Grace) }

func (g OpenTransactions) validate([]string) error {
	if g.Grace < 0 {
		return badGuard("OpenTransactions.Grace %v is negative: use 0 for keys from now()", g.Grace)
	}
	return nil
}

func (g OpenTransactions) cast(first keyColumn) (string, error) {
	return timeCast("OpenTransactions", first, g.UTC)
}

func (g OpenTransactions) horizon(ctx context.Context, r readStart) (horizon, error) {
	asked, oldest, err := g.look(ctx, r)
	if err != nil {
		return horizon{}, err
	}
	if oldest.recovery {
		return horizon{}, dataflow.Permanent(errors.New("pgtable.OpenTransactions, which is the default for times, cannot guard a read from a standby, because a standby does not show the transactions of its primary: " +
			"set Query.LateCommits to pgtable.Lag or pgtable.XID8, or read from the primary"))
	}
	if !r.rough && oldest.unseen {
		if err := unseen(ctx, r.pool); err != nil {
			return horizon{}, err
		}
	}
	h := horizon{limit: timeText(asked.Add(-g.Grace))}
	if oldest.since != nil && time.UnixMicro(*oldest.since).Before(asked) {
		h.held = &held{by: oldest.String(), since: time.UnixMicro(*oldest.since), asked: asked, patience: g.Patience}
		h.limit = timeText(h.held.since.Add(-g.Grace))
	}
	// After the sessions, because a transaction is prepared before its session
	// gives it up.
	if !r.rough && oldest.prepares {
		err = g.prepared(ctx, r.pool, asked, &h)
	}
	return h, err
}

// oldest is the oldest open transaction, and what else oldestQuery tells.
type oldest struct {
	recovery, prepares, unseen bool
	since                      *int64
	pid                        int32
	role, application, state   string
}

func (o *oldest) String() string {
	return fmt.Sprintf("the transaction of process %d, role %q, application %q, which is %s", o.pid, o.role, o.application, o.state)
}

// look returns the clock's time, and the oldest transaction later.
func (g OpenTransactions) look(ctx context.Context, r readStart) (time.Time, *oldest, error) {
	var clock int64
	if err := r.pool.QueryRow(ctx, clockQuery).Scan(&clock); err != nil {
		return time.Time{}, nil, fmt.Errorf("ask for the time: %w", err)
	}
	if !r.rough {
		if err := pause(ctx); err != nil {
			return time.Time{}, nil, err
		}
	}
	o := &oldest{}
	err := r.pool.QueryRow(ctx, oldestQuery).Scan(&o.recovery, &o.prepares, &o.unseen, &o.since, &o.pid, &o.role, &o.application, &o.state)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("look for open transactions: %w", err)
	}
	return time.UnixMicro(clock), o, nil
}

// prepared holds all rows back while there is a prepared transaction.
func (g OpenTransactions) prepared(ctx context.Context, pool *pgxpool.Pool, asked time.Time, h *horizon) error {
	var gid, owner string
	var at int64
	switch err := pool.QueryRow(ctx, preparedQuery).Scan(&gid, &owner, &at); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for prepared transactions: %w", err)
	}
	h.limit = negativeInfinity
	h.held = &held{by: fmt.Sprintf("the prepared transaction %q of role %q", gid, owner), since: time.UnixMicro(at), asked: asked, patience: g.Patience}
	return nil
}

// unseen waits for the transactions to end that are open and whose start cannot
// be seen. Those that begin meanwhile are younger than the clock that was read.
func unseen(ctx context.Context, pool *pgxpool.Pool) error {
	var open []string
	for n := 0; ; n++ {
		rows, err := pool.Query(ctx, unseenQuery, open)
		if err != nil {
			return fmt.Errorf("look for open transactions: %w", err)
		}
		var pid int32
		var id, role, me string
		var hidden bool
		open = make([]string, 0, len(open))
		_, err = pgx.ForEachRow(rows, []any{&id, &pid, &role, &hidden, &me}, func() error {
			open = append(open, id)
			return nil
		})
		switch {
		case err != nil:
			return fmt.Errorf("look for open transactions: %w", err)
		case len(open) == 0:
			return nil
		case n == settles && hidden:
			return fmt.Errorf("role %q may not see since when the transaction of process %d, role %q, is open, and rows could be missed: "+
				"grant pg_read_all_stats to %s, or set Query.LateCommits to pgtable.Lag or pgtable.XID8", me, pid, role, pgx.Identifier{me}.Sanitize())
		case n == settles:
			return fmt.Errorf("process %d, role %q, has track_activities off, which hides since when its transaction is open, and rows could be missed: "+
				"turn it on, or set Query.LateCommits to pgtable.Lag or pgtable.XID8", pid, role)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits for settle.
func pause(ctx context.Context) error {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
