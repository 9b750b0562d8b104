package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/benchmarks/internal/server"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// env is the server that all lines measure on.
type env struct {
	server *server.Server
	admin  *pgxpool.Pool // of the database "postgres", in which nothing is measured
	size   sizes
	made   int
}

// template is a database with all tables and no rows.
const template = "scale_template"

func newEnv(ctx context.Context, s *server.Server, size sizes) (*env, error) {
	admin, err := pgxpool.New(ctx, s.URL)
	if err != nil {
		return nil, err
	}
	e := &env{server: s, admin: admin, size: size}
	if err := e.exec(ctx, "create extension if not exists pg_stat_statements", "drop database if exists "+template, "create database "+template); err != nil {
		return nil, err
	}
	d, err := e.connect(ctx, template, 4, nil)
	if err != nil {
		return nil, err
	}
	defer d.pool.Close()
	client, err := dataflow.NewClient(dataflowpgx.New(d.pool), &dataflow.Config{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	return e, client.Migrate(ctx)
}

func (e *env) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := e.admin.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// database is a database of one measurement.
type database struct {
	env  *env
	name string
	url  string
	pool *pgxpool.Pool
}

// connections is the size of the pools of both sides.
const connections = 30

// fresh returns a new database with all tables and no rows.
func (e *env) fresh(ctx context.Context) (*database, error) {
	return e.copyOf(ctx, template)
}

// copyOf returns a new database that is a copy of another one.
func (e *env) copyOf(ctx context.Context, from string) (*database, error) {
	e.made++
	name := fmt.Sprintf("scale_%d", e.made)
	if err := e.exec(ctx, "drop database if exists "+name, "create database "+name+" template "+from); err != nil {
		return nil, err
	}
	return e.connect(ctx, name, connections, nil)
}

// connect opens a pool. The settings are those of its sessions.
func (e *env) connect(ctx context.Context, name string, conns int32, settings map[string]string) (*database, error) {
	u, err := url.Parse(e.server.URL)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + name
	config, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, err
	}
	config.MaxConns = conns
	for k, v := range settings {
		config.ConnConfig.RuntimeParams[k] = v
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &database{env: e, name: name, url: u.String(), pool: pool}, err
}

// drop removes the database, and adds its error to another.
func (d *database) drop(ctx context.Context, err *error) {
	d.pool.Close()
	*err = errors.Join(*err, d.env.exec(context.WithoutCancel(ctx), "drop database "+d.name+" with (force)"))
}

func (d *database) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := d.pool.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// usage is what a stretch of work used.
type usage struct {
	db    *database
	began time.Time
	own   time.Duration
	srv   time.Duration
	calls int64
	xids  int64
	wal   int64
}

const sqlUsage = `
select (select coalesce(sum(calls), 0)::bigint from pg_stat_statements where dbid = (select oid from pg_database where datname = $1)),
	pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`

// use begins to count what the work on a database uses.
func (d *database) use(ctx context.Context) (*usage, error) {
	u := &usage{db: d}
	err := u.read(ctx)
	return u, err
}

func (u *usage) read(ctx context.Context) error {
	err := u.db.env.admin.QueryRow(ctx, sqlUsage, u.db.name).Scan(&u.calls, &u.xids, &u.wal)
	u.began, u.own, u.srv = time.Now(), ownCPU(), u.db.env.server.CPU()
	return err
}

// done returns what n pieces of work used, and how many there were in a second.
func (u *usage) done(ctx context.Context, n int) (metrics, error) {
	now := &usage{db: u.db}
	if err := now.read(ctx); err != nil {
		return nil, err
	}
	took, count := now.began.Sub(u.began).Seconds(), float64(n)
	return metrics{
		"per second": count / took, "seconds": took,
		"statements": float64(now.calls-u.calls) / count, "commits": float64(now.xids-u.xids) / count, "WAL": float64(now.wal-u.wal) / count,
		"own CPU": 1000 * (now.own - u.own).Seconds() / count, "server CPU": 1000 * (now.srv - u.srv).Seconds() / count,
		ownCores: (now.own - u.own).Seconds() / took, serverCores: (now.srv - u.srv).Seconds() / took,
	}, nil
}

// ownCPU returns the CPU time that this process has used on all cores.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// none waits until a count is 0.
func (d *database) none(ctx context.Context, sql string) error {
	for {
		var n int
		if err := d.pool.QueryRow(ctx, sql).Scan(&n); err != nil || n == 0 {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
