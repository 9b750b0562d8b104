package pgchange

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/activedataflow/dataflow"
)

const (
	recheckEach = 30 * time.Second       // how often to look whether the publication was altered
	recheckSoon = 500 * time.Millisecond // after which to do so if the log describes a table again
	settleTold  = 10 * time.Second       // after which to say that a load waits
)

// follows reports whether the changes of a table are read. They are not before its load
// begins, because the load has them.
func (r *reader[T]) follows(t *table) bool { return r.pos.isLoaded(t) || r.pos.Table == t.name }

// recheck returns an error if what is published is not what it was when the read began: changes
// may be missing, so that the read must begin again.
func (r *reader[T]) recheck(ctx context.Context) error {
	since := time.Since(r.checked)
	if r.tx.open || since < recheckSoon || !r.check && since < recheckEach {
		return nil
	}
	now, err := r.s.lookUp(ctx, r.control)
	if err != nil {
		return err
	}
	if err := r.s.tellPartitions(ctx, r.control, now.tables); err != nil {
		return err
	}
	r.check, r.checked = false, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if how := r.differ(now); how != "" {
		return dataflow.Transient(fmt.Errorf("%s while it was read: the read begins again", how))
	}
	return nil
}

// differ says what was altered, "" if nothing was.
func (r *reader[T]) differ(now *published) string {
	if r.id != now.id {
		return "the publication was altered"
	}
	have := make(map[string]*table, len(now.tables))
	for _, t := range now.tables {
		have[t.name] = t
	}
	for _, t := range r.tables {
		switch is := have[t.name]; {
		case is == nil:
			return fmt.Sprintf("table %s was taken out of the publication, or dropped or renamed,", t.name)
		case is.id != t.id:
			return fmt.Sprintf("table %s, or its part in the publication, was altered or made anew", t.name)
		case is.keyID != t.keyID && !r.pos.isLoaded(t):
			return fmt.Sprintf("the key of table %s was altered", t.name)
		}
		delete(have, t.name)
	}
	for name := range have {
		return fmt.Sprintf("table %s was added to the publication", name)
	}
	return ""
}

// settled is where the load of a table may begin: after the transactions that began before the
// publication was looked up. Postgres does not send what these did to a table before it was
// added to the publication.
type settled struct {
	known bool
	at    LSN    // the log must have been read up to here
	next  uint32 // the first transaction that had not begun
	since time.Time
	waits bool
}

// settle reports whether the load of a table must wait until more of the log is read.
func (r *reader[T]) settle(ctx context.Context) (waits bool, err error) {
	if r.begins {
		return false, nil // Postgres has made the slot after these
	}
	s := &r.settled
	if !s.known {
		var next, at string
		if err := r.control.QueryRow(ctx, "select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, pg_catalog.pg_logical_emit_message(true, 'dataflow', '')::text").Scan(&next, &at); err != nil {
			return false, fmt.Errorf("write a watermark to the log: %w", err)
		}
		xid, err := strconv.ParseUint(next, 10, 64)
		if err != nil {
			return false, err
		}
		lsn, err := pglogrepl.ParseLSN(at)
		if err != nil {
			return false, err
		}
		s.known, s.at, s.next, s.since = true, LSN(lsn), uint32(xid), time.Now() //nolint:forbidigo // how long it takes, not what time it is
	}
	if r.pos.LSN >= s.at && time.Since(s.since) > settleTold {
		r.s.tell(ctx, "the load of a table waits until all transactions have ended that were open when it was found in the publication: see pg_stat_activity for the oldest xact_start, and pg_prepared_xacts")
	}
	s.waits = r.pos.LSN < s.at
	return s.waits, nil
}

// seenBy reports whether a snapshot is one of after these transactions.
func (s *settled) seenBy(now *snapshot) bool { return !s.known || int32(now.min-s.next) >= 0 }
