package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// loop is what most people write: read a page, write its rows with CopyFrom, store
// the cursor, in sequence.
func (w *work) loop(ctx context.Context) error {
	const size = 1000
	for last := int64(0); ; {
		records, err := w.page(ctx, last, size)
		if err != nil || len(records) == 0 {
			return err
		}
		last = records[len(records)-1].ID
		if err := w.copyRows(ctx, records, last); err != nil {
			return err
		}
	}
}

func (w *work) copyRows(ctx context.Context, records []row, last int64) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := copyTx(ctx, tx, records); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update progress set last = $1 where name = 'loop'", last)
		return err
	})
}

// pipe is the upper bound: one psql writes what another reads, unchanged and
// without checkpoints.
func (w *work) pipe(ctx context.Context) error {
	out := exec.CommandContext(ctx, "psql", w.url, "-X", "-q", "-c", "copy src to stdout")
	in := exec.CommandContext(ctx, "psql", w.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", "copy dst from stdin")
	pipe, err := out.StdoutPipe()
	if err != nil {
		return err
	}
	in.Stdin = pipe
	in.Stderr, out.Stderr = os.Stderr, os.Stderr
	if err := in.Start(); err != nil {
		return err
	}
	return errors.Join(out.Run(), in.Wait())
}

// server does everything in the server, in one statement.
func (w *work) server(ctx context.Context) error {
	return w.exec(ctx, `insert into dst select id, upper(name), amount * 1.5, updated_at from src
		on conflict (id) do update set name = excluded.name, amount = excluded.amount, updated_at = excluded.updated_at`)
}

// psqlCSV is the upper bound for files.
func (w *work) psqlCSV(ctx context.Context) error {
	return w.psql(ctx, `\copy dst from '`+w.file("rows.csv")+`' csv header`)
}

// fileBatch is a common batch size for CopyFrom.
const fileBatch = 5000

// loadCSV is encoding/csv and CopyFrom.
func (w *work) loadCSV(ctx context.Context) error {
	f, err := os.Open(w.file("rows.csv"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the file was only read
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<16))
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil {
		return err
	}
	return w.load(ctx, func() (row, error) {
		cells, err := r.Read()
		if err != nil {
			return row{}, err
		}
		var v row
		if v.ID, err = strconv.ParseInt(cells[0], 10, 64); err != nil {
			return v, err
		}
		v.Name = cells[1]
		if v.Amount, err = strconv.ParseFloat(cells[2], 64); err != nil {
			return v, err
		}
		v.UpdatedAt, err = time.Parse(time.RFC3339, cells[3])
		return v, err
	})
}

// loadJSONL is encoding/json and CopyFrom.
func (w *work) loadJSONL(ctx context.Context) error {
	f, err := os.Open(w.file("rows.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the file was only read
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<16))
	return w.load(ctx, func() (v row, err error) { return v, d.Decode(&v) })
}

// load copies what next returns, batch by batch.
func (w *work) load(ctx context.Context, next func() (row, error)) error {
	records := make([]row, 0, fileBatch)
	flush := func() error {
		if len(records) == 0 {
			return nil
		}
		err := w.copyRows(ctx, records, records[len(records)-1].ID)
		records = records[:0]
		return err
	}
	for {
		switch v, err := next(); {
		case errors.Is(err, io.EOF):
			return flush()
		case err != nil:
			return err
		default:
			records = append(records, v)
		}
		if len(records) == fileBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
