package pgtable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// OpenTransactions reads only rows whose key is before the start of the oldest open
// transaction in this database. The key must begin with a time that the writing
// transaction has set to now() or clock_timestamp(). Neither is before the
// transaction's start, so no row can appear before the start of the oldest open
// one.
//
// The reading role must be allowed to see when other roles' transactions started:
//
//	grant pg_read_all_stats to reader
//
// This is not needed if all transactions belong to the reading role. A read that
// meets a transaction whose start it may not see fails.
type OpenTransactions struct {
	// Grace is the most by which a key may precede the start of its transaction.
	// Times cut to seconds, as by date_trunc('second', now()), need one second.
	// Times from the writers' own clocks need the most that those may be slow. 0
	// suits now() and clock_timestamp().
	Grace time.Duration

	// Patience is the longest time for which one transaction may hold rows back.
	// After that, a read ends after the last row that it may read, with an error
	// that names the transaction. 0 means an hour; negative means for ever.
	Patience time.Duration

	// UTC says that a key column of type timestamp, without time zone, holds times
	// in UTC. Without it such a column is an error.
	UTC bool
}

const (
	defaultPatience = time.Hour

	// settle is the wait between reading the clock and looking for older
	// transactions. A session sets the start time of its transaction before it
	// publishes that time; this wait lets it publish. It also lets short
	// transactions end, so they hold nothing back.
	settle = 20 * time.Millisecond

	// settles is how many times to wait for settle until transactions with an
	// invisible start have ended.
	settles = 10
)

const clockQuery = `select (extract(epoch from clock_timestamp()) * 1000000)::bigint`

// sessions lists the other sessions in this database. Autovacuum has no user and
// writes no rows. Some sessions run a statement but have no transaction: their next
// one starts at the statement's time, as by "commit and chain", or later.
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
select ` + serverID + `, pg_is_in_recovery(), current_setting('max_prepared_transactions')::int > 0,
	exists (select from session where hidden or untracked),
	(extract(epoch from oldest.since) * 1000000)::bigint, coalesce(oldest.pid, 0), coalesce(oldest.role, ''), coalesce(oldest.application, ''), coalesce(oldest.state, '')
from (select) one
left join lateral (select * from session where since is not null order by since limit 1) oldest on true`

// preparedQuery finds the oldest prepared transaction. Its start is recorded
// nowhere.
const preparedQuery = `
select gid, coalesce(owner::text, ''), (extract(epoch from prepared) * 1000000)::bigint
from pg_catalog.pg_prepared_xacts
where database = current_database()
order by prepared limit 1`

// unseenQuery finds transactions whose start is not visible. Every role can see
// that a transaction exists, by the lock on its virtual ID. $1 lists the IDs that
// matter; null means all.
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
		if err := r.server.standby(r.pool); err != nil {
			return horizon{}, err
		}
		return horizon{}, errors.New("pgtable.OpenTransactions, the default for a key with a time, does not work on a standby, because a standby does not show the transactions of its primary: " +
			"set Query.LateCommits to pgtable.Lag or pgtable.XID8, or read from the primary")
	}
	r.server.primary.Store(true)
	if !r.rough && oldest.unseen {
		if err := unseen(ctx, r.pool); err != nil {
			return horizon{}, err
		}
	}
	h := horizon{limit: timeText(asked.Add(-g.Grace)), server: oldest.server, clock: asked}
	if oldest.since != nil && time.UnixMicro(*oldest.since).Before(asked) {
		h.held = &held{by: oldest.String(), since: time.UnixMicro(*oldest.since), asked: asked, upTo: timeText(asked), patience: g.Patience}
		h.limit = timeText(h.held.since.Add(-g.Grace))
	}
	// Look for prepared transactions after the sessions: a transaction is prepared
	// before its session gives it up.
	if oldest.prepares {
		err = g.prepared(ctx, r.pool, asked, &h)
	}
	return h, err
}

// oldest is the result of oldestQuery: the oldest open transaction and the state of
// the server.
type oldest struct {
	server                     int64
	recovery, prepares, unseen bool
	since                      *int64
	pid                        int32
	role, application, state   string
}

func (o *oldest) String() string {
	return fmt.Sprintf("the transaction of process %d, role %q, application %q, which is %s", o.pid, o.role, o.application, o.state)
}

// look returns the clock's time and, read later, the oldest open transaction.
func (g OpenTransactions) look(ctx context.Context, r readStart) (time.Time, *oldest, error) {
	var clock int64
	if err := r.pool.QueryRow(ctx, clockQuery).Scan(&clock); err != nil {
		return time.Time{}, nil, inTheWay(fmt.Errorf("ask for the time: %w", err))
	}
	if !r.rough {
		if err := pause(ctx); err != nil {
			return time.Time{}, nil, err
		}
	}
	o := &oldest{}
	err := r.pool.QueryRow(ctx, oldestQuery).Scan(&o.server, &o.recovery, &o.prepares, &o.unseen, &o.since, &o.pid, &o.role, &o.application, &o.state)
	if err != nil {
		return time.Time{}, nil, inTheWay(fmt.Errorf("look for open transactions: %w", err))
	}
	return time.UnixMicro(clock), o, nil
}

// prepared holds all rows back if there is a prepared transaction.
func (g OpenTransactions) prepared(ctx context.Context, pool *pgxpool.Pool, asked time.Time, h *horizon) error {
	var gid, owner string
	var at int64
	switch err := pool.QueryRow(ctx, preparedQuery).Scan(&gid, &owner, &at); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return inTheWay(fmt.Errorf("look for prepared transactions: %w", err))
	}
	h.limit = negativeInfinity
	h.held = &held{by: fmt.Sprintf("the prepared transaction %q of role %q", gid, owner), since: time.UnixMicro(at), asked: asked, upTo: timeText(asked), patience: g.Patience}
	return nil
}

// unseen waits until the open transactions whose start is not visible have ended.
// Those that begin meanwhile started after the clock was read.
func unseen(ctx context.Context, pool *pgxpool.Pool) error {
	var open []string
	for n := 0; ; n++ {
		rows, err := pool.Query(ctx, unseenQuery, open)
		if err != nil {
			return inTheWay(fmt.Errorf("look for open transactions: %w", err))
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
			return inTheWay(fmt.Errorf("look for open transactions: %w", err))
		case len(open) == 0:
			return nil
		case n == settles && hidden:
			return fmt.Errorf("role %q may not see when the transaction of process %d, role %q, started, so rows could be missed: "+
				"grant pg_read_all_stats to %s, or set Query.LateCommits to pgtable.Lag or pgtable.XID8", me, pid, role, pgx.Identifier{me}.Sanitize())
		case n == settles:
			return fmt.Errorf("process %d, role %q, has track_activities off, which hides when its transaction started, so rows could be missed: "+
				"turn it on, or set Query.LateCommits to pgtable.Lag or pgtable.XID8", pid, role)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits for settle, or until ctx is done.
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
