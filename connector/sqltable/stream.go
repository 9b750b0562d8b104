package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"
)

// streamTimeout is how long a MySQL server waits for a reader of a streamed result to take rows, in
// seconds. Its default, a minute, is less than a slow batch may take.
const streamTimeout = 3600

// sessionErrors are what is wrong with a session of MySQL for some types of columns.
type sessionErrors struct{ clock, charset error }

// stream executes a statement whose rows are read while they arrive. For MySQL it uses a connection of
// its own, and lets the server wait for the reader. The caller calls done after it has closed the
// rows.
func (d *database) stream(ctx context.Context, mysql bool, query string, args []any) (rows *sql.Rows, session sessionErrors, done func(), err error) {
	if !mysql {
		rows, err = d.QueryContext(ctx, query, args...)
		return rows, session, func() {}, err
	}
	conn, err := d.Conn(ctx)
	if err != nil {
		return nil, session, nil, err
	}
	done = func() { _ = conn.Close() }
	session = sessionErrors{checkClock(ctx, conn), checkTextCharset(ctx, conn)} // before the query, while the connection is free
	var was int64
	if err := conn.QueryRowContext(ctx, "select @@session.net_write_timeout").Scan(&was); err != nil {
		done()
		return nil, session, nil, err
	}
	if was < streamTimeout {
		if err := setWriteTimeout(ctx, conn, streamTimeout); err != nil {
			done()
			return nil, session, nil, err
		}
		done = func() { giveBack(ctx, conn, was) }
	}
	rows, end, err := prepared(ctx, conn, query, args)
	if err != nil {
		end()
		done()
		return nil, session, nil, err
	}
	release := done
	return rows, session, func() { end(); release() }, nil
}

func setWriteTimeout(ctx context.Context, conn *sql.Conn, seconds int64) error {
	_, err := conn.ExecContext(ctx, fmt.Sprintf("set session net_write_timeout = %d", seconds))
	return err
}

// giveBack returns a connection to its pool as it was, or closes it.
func giveBack(ctx context.Context, conn *sql.Conn, was int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := setWriteTimeout(ctx, conn, was); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = conn.Close()
}

// streamLost explains the error of a connection that was lost while its result was streamed.
func streamLost(mysql bool, err error) error {
	if err == nil || !mysql || innermost(err).Error() != "invalid connection" {
		return err
	}
	return fmt.Errorf("the connection was lost while its result was read; the server closes it if nobody takes rows for net_write_timeout, which the session sets to at least %d s, "+
		"or if it is killed; a source with a cursor, sqltable.Keyset, would resume: %w", streamTimeout, err)
}
