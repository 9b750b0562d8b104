package dataflowpgx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The channel on which clients tell each other of runs that may be due. A payload is the oid of
// the table of runs, which tells the schema, and the id of a flow.
const (
	wakeChannel = "dataflow_run"
	sqlListen   = `listen ` + wakeChannel
	sqlTable    = `select '{s}dataflow_run'::regclass::oid::bigint`
	sqlWake     = `select pg_notify('` + wakeChannel + `', '{s}dataflow_run'::regclass::oid::text || ' ' || id) from unnest($1::bigint[]) id`
)

// listenPing is how long a silent connection is believed to be whole.
const listenPing = 30 * time.Second

// errPooled says why nobody listens.
var errPooled = errors.New("a pooler in transaction mode, such as PgBouncer, is before Postgres, and keeps no connection to listen on")

// Wake implements dataflow.Notifier.
func (s *store) Wake(ctx context.Context, flowIDs []int64) error {
	_, err := s.reserve.Exec(ctx, s.text(sqlWake), flowIDs)
	return err
}

// Listen implements dataflow.Notifier. It has a connection of its own, beside the pool.
func (s *store) Listen(ctx context.Context, ready func(), woken func(flowID int64)) error {
	if err := s.pool.look(ctx); err != nil {
		return err
	}
	switch {
	case s.pool.pooler.Found().Transaction:
		return errPooled
	case !s.pool.pooler.Known(): // a connection might turn out to be deaf later
		return errors.New("whether a pooler keeps a connection to listen on is not known yet")
	default:
	}
	reset := s.pool.nextReset()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing more is wanted of it
	if _, err := conn.Exec(ctx, sqlListen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var table int64
	if err := conn.QueryRow(ctx, s.text(sqlTable)).Scan(&table); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ready()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-reset: // after a fail-over, only a new connection reaches the new primary
			cancel(errReset)
		case <-ctx.Done():
		}
	}()
	for {
		flow, err := next(ctx, conn, table)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("listen: %w", err)
		}
		if flow != 0 {
			woken(flow)
		}
	}
}

// connect makes a connection by the configuration of the pool.
func (s *store) connect(ctx context.Context) (*pgx.Conn, error) {
	config := s.pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	config.ConnConfig.OnNotification = nil
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err == nil && config.AfterConnect != nil {
		if err = config.AfterConnect(ctx, conn); err != nil {
			_ = conn.Close(ctx) // the error before it says more
		}
	}
	return conn, err
}

// next waits for a notification, and returns the flow that it names, or 0 for one of another
// schema. It also returns 0 after a silence in which the connection turned out to be whole.
func next(ctx context.Context, conn *pgx.Conn, table int64) (flowID int64, err error) {
	waiting, cancel := context.WithTimeout(ctx, listenPing)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err != nil {
		if ctx.Err() != nil || waiting.Err() == nil || conn.IsClosed() {
			return 0, err
		}
		ping, cancel := context.WithTimeout(ctx, listenPing/3)
		defer cancel()
		return 0, conn.Ping(ping)
	}
	in, flow, _ := strings.Cut(n.Payload, " ")
	if in != strconv.FormatInt(table, 10) {
		return 0, nil
	}
	flowID, err = strconv.ParseInt(flow, 10, 64)
	if err != nil {
		return 0, nil // of a stranger
	}
	return flowID, nil
}
