package pgchange

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
)

// standby is the error of a server that is a standby, perhaps one that is about to be promoted.
func (s *stream) standby(why string) error {
	return dataflow.Transient(fmt.Errorf("slot %q: the server is a standby, and %s: connect to the primary (target_session_attrs=primary in the pool's URL), or promote the standby", s.options.Slot, why))
}

// placeQuery says which server a connection leads to.
const placeQuery = "select pg_catalog.pg_is_in_recovery(), pg_catalog.pg_postmaster_start_time()"

// checkServer returns an error if a position is not one of this server's log.
func (s *stream) checkServer(ctx context.Context, conn *pgconn.PgConn, control *pgx.Conn, from *Position, isNew bool) error {
	var places [2]string
	for i, c := range []*pgconn.PgConn{conn, control.PgConn()} {
		results, err := c.Exec(ctx, placeQuery).ReadAll()
		if err != nil {
			return fmt.Errorf("identify the server: %w", err)
		}
		places[i] = string(bytes.Join(results[0].Rows[0], []byte(" ")))
	}
	if places[0] != places[1] {
		return dataflow.Transient(fmt.Errorf("slot %q: two connections of the pool's settings lead to different servers, or the server was just promoted: name one server, or the primary (target_session_attrs=primary)", s.options.Slot))
	}
	recovers := strings.HasPrefix(places[0], "t")
	is, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify the server: %w", err)
	}
	switch {
	case isNew && recovers && !s.options.OnlyChanges:
		return s.standby("tables cannot be loaded from it")
	case isNew: // nothing was read of any server
	case from.System != "" && from.System != is.SystemID:
		return s.lost(fmt.Sprintf("the cursor is of another server (system %s, not %s)", from.System, is.SystemID))
	case from.LSN > LSN(is.XLogPos) && recovers:
		return s.standby(fmt.Sprintf("it has the log only up to %s, before the cursor %s", is.XLogPos, from.LSN))
	case from.LSN > LSN(is.XLogPos):
		return s.lost(fmt.Sprintf("the cursor %s is after the end of the server's log, %s: the server was restored from a backup, or is a standby that had lagged", from.LSN, is.XLogPos))
	case from.Timeline != 0 && from.Timeline != is.Timeline:
		if err := s.checkTimeline(ctx, conn, from, is.Timeline); err != nil {
			return err
		}
	}
	from.System, from.Timeline = is.SystemID, is.Timeline
	if recovers {
		from.Timeline = 0 // a read goes on while the standby, or the server that it follows, is promoted
	}
	return nil
}

// checkTimeline returns an error if the server left the cursor's timeline before the cursor.
func (s *stream) checkTimeline(ctx context.Context, conn *pgconn.PgConn, from *Position, now int32) error {
	if now < from.Timeline || now == 1 { // which has no history
		return s.lost(fmt.Sprintf("the cursor is of timeline %d, from which the server's timeline %d does not come", from.Timeline, now))
	}
	history, err := pglogrepl.TimelineHistory(ctx, conn, now)
	if err != nil {
		return fmt.Errorf("read the history of timeline %d: %w", now, err)
	}
	for line := range strings.Lines(string(history.Content)) {
		var timeline int32
		var left string
		if n, _ := fmt.Sscan(line, &timeline, &left); n < 2 || timeline != from.Timeline {
			continue
		}
		at, err := pglogrepl.ParseLSN(left)
		if err == nil && from.LSN <= LSN(at) {
			return nil
		}
		return s.lost(fmt.Sprintf("the server left timeline %d at %s, before the cursor %s: it was a standby that had lagged", timeline, left, from.LSN))
	}
	return s.lost(fmt.Sprintf("the cursor is of timeline %d, from which the server's timeline %d does not come", from.Timeline, now))
}
