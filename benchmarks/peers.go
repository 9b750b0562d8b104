package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// page reads the next rows after last.
func (w *work) page(ctx context.Context, last int64, size int) ([]row, error) {
	rows, err := w.pool.Query(ctx, "select id, name, amount, updated_at from src where id > $1 order by id limit $2", last, size)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[row])
}

// copyTx copies changed rows in the caller's transaction.
func copyTx(ctx context.Context, tx pgx.Tx, records []row) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"dst"}, []string{"id", "name", "amount", "updated_at"}, pgx.CopyFromSlice(len(records), func(i int) ([]any, error) {
		r := change(records[i])
		return []any{r.ID, r.Name, r.Amount, r.UpdatedAt}, nil
	}))
	return err
}

// copyJob is a job that copies the table.
type copyJob struct {
	Page int `json:"page"`
}

func (copyJob) Kind() string { return "copy" }

// copyWorker continues from the cursor that it stores in its job, in the
// transaction of the rows.
type copyWorker struct {
	river.WorkerDefaults[copyJob]

	work *work
}

func (copyWorker) Timeout(*river.Job[copyJob]) time.Duration { return -1 }

func (c copyWorker) Work(ctx context.Context, job *river.Job[copyJob]) error {
	river.ResumableStepCursor(ctx, "copy", nil, func(ctx context.Context, last int64) error {
		for {
			records, err := c.work.page(ctx, last, job.Args.Page)
			if err != nil || len(records) == 0 {
				return err
			}
			last = records[len(records)-1].ID
			err = pgx.BeginFunc(ctx, c.work.pool, func(tx pgx.Tx) error {
				if err := copyTx(ctx, tx, records); err != nil {
					return err
				}
				_, err := river.ResumableSetStepCursorTx[*riverpgxv5.Driver](ctx, tx, job, last)
				return err
			})
			if err != nil {
				return err
			}
		}
	})
	return nil
}

// riverJob works one River job, from its insertion to its completion.
func (w *work) riverJob(page int) func(context.Context) error {
	return func(ctx context.Context) error {
		workers := river.NewWorkers()
		river.AddWorker(workers, copyWorker{work: w})
		client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
			Queues: map[string]river.QueueConfig{"copy": {MaxWorkers: 1}}, Workers: workers, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		ended, unsubscribe := client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed)
		defer unsubscribe()
		if err := client.Start(ctx); err != nil {
			return err
		}
		defer client.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // the job is done
		if _, err := client.Insert(ctx, copyJob{Page: page}, &river.InsertOpts{Queue: "copy"}); err != nil {
			return err
		}
		select {
		case e := <-ended:
			if e.Kind != river.EventKindJobCompleted {
				return fmt.Errorf("the job failed: %v", e.Job.Errors)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dbosWorkflow works one DBOS workflow. Each page is a step in a transaction, so
// the rows and the step's record are committed together. Its transactions have no
// COPY, so the rows are sent as arrays.
func (w *work) dbosWorkflow(page int) func(context.Context) error {
	return w.dbos(func(ctx dbos.Context, source *dbos.DataSource, last int64) (int64, error) {
		return dbos.RunAsTransaction(ctx, source, func(ctx context.Context, tx dbos.Tx) (int64, error) {
			records, err := w.page(ctx, last, page)
			if err != nil || len(records) == 0 {
				return 0, err
			}
			ids, names := make([]int64, len(records)), make([]string, len(records))
			amounts, times := make([]float64, len(records)), make([]time.Time, len(records))
			for i, r := range records {
				r = change(r)
				ids[i], names[i], amounts[i], times[i] = r.ID, r.Name, r.Amount, r.UpdatedAt
			}
			_, err = tx.Exec(ctx, "insert into dst select * from unnest($1::bigint[], $2::text[], $3::numeric[], $4::timestamptz[])", ids, names, amounts, times)
			return records[len(records)-1].ID, err
		})
	})
}

// dbosSteps does the same in plain steps, which may use COPY. A step that dies
// after committing its rows, but before it is recorded, writes them again.
func (w *work) dbosSteps(page int) func(context.Context) error {
	return w.dbos(func(ctx dbos.Context, _ *dbos.DataSource, last int64) (int64, error) {
		return dbos.RunAsStep(ctx, func(ctx context.Context) (int64, error) {
			records, err := w.page(ctx, last, page)
			if err != nil || len(records) == 0 {
				return 0, err
			}
			return records[len(records)-1].ID, pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return copyTx(ctx, tx, records) })
		})
	})
}

// openDBOS connects DBOS to the database of the work and creates its tables if they
// do not exist. DBOS closes the given connection itself.
func (w *work) openDBOS(ctx context.Context) (dbos.Context, *dbos.DataSource, error) {
	pool, err := pgxpool.New(ctx, w.url)
	if err != nil {
		return nil, nil, err
	}
	c, err := dbos.NewContext(ctx, dbos.Config{AppName: "benchmarks", SystemDBPool: pool, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	source, err := dbos.NewDataSource(c, pool)
	return c, source, err
}

// resetDBOS is reset, and creates DBOS's tables.
func (w *work) resetDBOS(ctx context.Context) error {
	c, _, err := w.openDBOS(ctx)
	if err != nil {
		return err
	}
	err = dbos.Launch(c)
	return errors.Join(err, dbos.Shutdown(c, 10*time.Second), w.reset(ctx))
}

// dbos runs a workflow of steps. Each step returns the last id that it has copied,
// or 0 if there was none.
func (w *work) dbos(step func(ctx dbos.Context, source *dbos.DataSource, last int64) (int64, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		c, source, err := w.openDBOS(ctx)
		if err != nil {
			return err
		}
		workflow := func(ctx dbos.Context, last int64) (int64, error) {
			for {
				next, err := step(ctx, source, last)
				if err != nil || next == 0 {
					return last, err
				}
				last = next
			}
		}
		dbos.RegisterWorkflow(c, workflow, dbos.WithWorkflowName("copy"))
		if err := dbos.Launch(c); err != nil {
			return err
		}
		handle, err := dbos.RunWorkflow(c, workflow, int64(0))
		if err != nil {
			return err
		}
		if _, err := handle.GetResult(); err != nil {
			return err
		}
		return dbos.Shutdown(c, 10*time.Second)
	}
}
