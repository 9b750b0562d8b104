package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// row is the record of all benchmarks.
type row struct {
	ID        int64     `csv:"id" json:"id"`
	Name      string    `csv:"name" json:"name"`
	Amount    float64   `csv:"amount" json:"amount"`
	UpdatedAt time.Time `csv:"updated_at" json:"updated_at"`
}

// change is the transform of all benchmarks.
func change(r row) row {
	r.Name = strings.ToUpper(r.Name)
	r.Amount *= 1.5
	return r
}

// work is the data and its target.
type work struct {
	url  string
	pool *pgxpool.Pool
	rows int
	dir  string // the directory of the files
	api  string // the address of the HTTP API
	run  int    // numbers the flows, for their names

	missing int // the number of rows that must not arrive
}

func newWork(ctx context.Context, url string, rows int, dir string) (*work, error) {
	pool, err := pgxpool.New(ctx, url)
	return &work{url: url, pool: pool, rows: rows, dir: dir}, err
}

const target = `create table dst (id bigint primary key, name text not null, amount numeric not null, updated_at timestamptz not null) with (autovacuum_enabled = off)`

const tables = `
create table src (id bigint primary key, name text not null, amount numeric not null, updated_at timestamptz not null) with (autovacuum_enabled = off);
` + target + `;
create table progress (name text primary key, last bigint not null);
insert into progress values ('loop', 0)`

// prepare makes the source table and the files.
func (w *work) prepare(ctx context.Context) error {
	if _, err := w.pool.Exec(ctx, tables); err != nil {
		return err
	}
	if _, err := w.pool.Exec(ctx, "insert into src "+generated(1, w.rows)); err != nil {
		return err
	}
	if _, err := w.pool.Exec(ctx, "vacuum (freeze, analyze) src"); err != nil {
		return err
	}
	columns := `id, name, amount, to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as updated_at`
	if err := w.psql(ctx, fmt.Sprintf(`\copy (select %s from src order by id) to '%s' csv header`, columns, w.file("rows.csv"))); err != nil {
		return err
	}
	// The data does not contain the quote and delimiter of this format, so the lines are unchanged.
	return w.psql(ctx, fmt.Sprintf(`\copy (select row_to_json(r) from (select %s from src order by id) r) to '%s' csv quote e'\x01' delimiter e'\x02'`, columns, w.file("rows.jsonl")))
}

// generated selects the rows still missing from the source table.
func generated(first, last int) string {
	return fmt.Sprintf(`select g, 'customer ' || md5(g::text) || ' of city ' || g %% 1000, (g %% 100000) / 100.0, '2024-01-01'::timestamptz + g * interval '1 second'
		from generate_series(%d::bigint, %d) g`, first, last)
}

func (w *work) file(name string) string { return filepath.Join(w.dir, name) }

// psql runs one command of psql.
func (w *work) psql(ctx context.Context, command string) error {
	cmd := exec.CommandContext(ctx, "psql", w.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// reset empties the target, and makes the server do its deferred work now.
func (w *work) reset(ctx context.Context) error { return w.exec(ctx, "truncate dst", "checkpoint") }

// fill puts all rows into the target, with other values than the work writes.
func (w *work) fill(ctx context.Context) error {
	return w.exec(ctx, "truncate dst", "insert into dst select * from src", "vacuum (freeze, analyze) dst", "checkpoint")
}

// numbered makes a contender work on a target that numbers its rows.
func (w *work) numbered(c contender) contender {
	return contender{name: c.name + ", bigserial", run: func(ctx context.Context) (took time.Duration, err error) {
		if err := w.exec(ctx, "drop table dst", target, "alter table dst add n bigserial"); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, w.exec(ctx, "drop table dst", target)) }()
		return c.run(ctx)
	}}
}

func (w *work) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := w.pool.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// verify checks that the work was done.
func (w *work) verify(ctx context.Context, changed bool) error {
	name, factor := "src.name", 1.0
	if changed {
		name, factor = "upper(src.name)", 1.5
	}
	var good int
	err := w.pool.QueryRow(ctx, fmt.Sprintf(`select count(*) from dst join src using (id)
		where dst.name = %s and abs(dst.amount - src.amount * %g) < 0.0001 and dst.updated_at = src.updated_at`, name, factor)).Scan(&good)
	if want := w.rows - w.missing; err == nil && good != want {
		err = fmt.Errorf("of %d rows, %d arrived as they should", w.rows, good)
	}
	return err
}

// timed makes a contender of work: it prepares the target before the work and
// checks the result after it.
func (w *work) timed(name string, ready func(context.Context) error, changed bool, run func(context.Context) error) contender {
	return contender{name: name, run: func(ctx context.Context) (time.Duration, error) {
		if err := ready(ctx); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := run(ctx); err != nil {
			return 0, err
		}
		took := time.Since(start)
		return took, w.verify(ctx, changed)
	}}
}
