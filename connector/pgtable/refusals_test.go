package pgtable_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// onNumbers are the targets that write a number to the table numbers of the client's
// database.
func onNumbers() map[string]dataflow.Target[number] {
	return map[string]dataflow.Target[number]{
		"Insert": pgtable.Insert[number]("numbers"),
		"Upsert": pgtable.Upsert[number]("numbers", "n"),
		"Batch": pgtable.Batch(func(b *pgx.Batch, row number) error {
			b.Queue(addNumber, row.N)
			return nil
		}),
		"Func": pgtable.Func(func(ctx context.Context, tx pgx.Tx, rows []number) error {
			for _, row := range rows {
				if _, err := tx.Exec(ctx, addNumber, row.N); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// late are constraints that Postgres checks at the commit, and that refuse the number 50.
func late() map[string][]string {
	return map[string][]string{
		"foreign key": {
			`create table parent (n bigint primary key)`, `insert into parent select i from generate_series(1, 100) i where i <> 50`,
			`create table numbers (n bigint primary key references parent deferrable initially deferred)`,
		},
		"exclusion": {
			`create table numbers (n bigint primary key, exclude using gist (int8range(n - n % 200 * 0, n, '[]') with &&) deferrable initially deferred)`,
			`alter table numbers drop constraint numbers_int8range_excl`, `alter table numbers add exclude using btree ((case n when 50 then 1000 else n end) with =) deferrable initially deferred`, `insert into numbers values (1000)`,
		},
		"unique": {
			`create table numbers (n bigint primary key, half bigint generated always as (case n when 50 then 1000 else n end) stored unique deferrable initially deferred)`,
			`insert into numbers values (1000)`,
		},
		"constraint trigger": {
			`create table numbers (n bigint primary key)`,
			`create function refuse() returns trigger language plpgsql as $$ begin if new.n = 50 then raise 'nobody likes 50'; end if; return null; end $$`,
			`create constraint trigger refuse after insert on numbers deferrable initially deferred for each row execute function refuse()`,
		},
		"another table": {
			`create table numbers (n bigint primary key)`, `create table parent (n bigint primary key)`, `insert into parent select i from generate_series(1, 100) i where i <> 50`,
			`create table child (n bigint references parent deferrable initially deferred)`,
			`create function copy() returns trigger language plpgsql as $$ begin insert into child values (new.n); return null; end $$`,
			`create trigger copy after insert on numbers for each row execute function copy()`,
		},
	}
}

// A constraint that is checked at the commit finds its record: the policy keeps the others,
// and without one the error names the record.
func TestTargets_RefusedAtTheCommit(t *testing.T) {
	t.Parallel()
	for constraint, setupOf := range late() {
		for name, target := range onNumbers() {
			if !dbtest.Part(constraint+"/"+name, 2) {
				continue
			}
			t.Run(constraint+"/"+name, func(t *testing.T) {
				t.Parallel()
				pool := setup(t, setupOf...)
				for _, policy := range []dataflow.Policy{nil, dataflow.FailFast} {
					_, err := trigger(t, pool, target, policy)
					var bad *dataflow.RecordError
					require.ErrorAs(t, err, &bad)
					require.Equal(t, "row 50", bad.Key)
				}
				run, err := trigger(t, pool, target, dataflow.DeadLetterUpTo(1))
				require.NoError(t, err)
				require.Equal(t, int64(1), run.Counters.DeadLettered)
				require.Equal(t, int64(59), run.Counters.Written, "after the first batch")
				var n int64
				require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from numbers where n between 1 and 100`).Scan(&n))
				require.Equal(t, int64(99), n)
			})
		}
	}
}

// A record that a statement refuses and one that the commit refuses are both found.
func TestFunc_RefusedTwice(t *testing.T) {
	t.Parallel()
	pool := setup(t, append(late()["foreign key"], `alter table numbers add check (n <> 60)`)...)
	run, err := trigger(t, pool, onNumbers()["Func"], dataflow.DeadLetterUpTo(2))
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 100, Written: 98, DeadLettered: 2}, run.Counters)
}

type owner struct {
	ID    int64
	Email string
}

// written runs a flow of owners into a table in one batch, and returns what the table holds.
func written(t *testing.T, pool *pgxpool.Pool, policy dataflow.Policy, rows ...owner) ([]string, *dataflow.Run, error) {
	t.Helper()
	run, err := triggerRows(t, pool, fmt.Sprint("owners", len(rows)), rows, pgtable.Upsert[owner]("owners", "id"), policy)
	got, qerr := pool.Query(t.Context(), `select id || email from owners order by id`)
	require.NoError(t, qerr)
	texts, qerr := pgx.CollectRows(got, pgx.RowTo[string])
	require.NoError(t, qerr)
	return texts, run, err
}

// A unique value that one row hands over to another is written in the source's order.
func TestUpsert_ValueHandedOver(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]dataflow.Policy{"none": nil, "FailFast": dataflow.FailFast, "DeadLetterUpTo": dataflow.DeadLetterUpTo(0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create table owners (id bigint primary key, email text unique)`, `insert into owners values (10, 'a')`)
			got, run, err := written(t, pool, policy, owner{10, "b"}, owner{5, "a"})
			require.NoError(t, err)
			require.Equal(t, []string{"5a", "10b"}, got)
			require.Equal(t, dataflow.Counters{Read: 2, Written: 2, Updated: 1}, run.Counters)

			var many []owner // by COPY, too
			for i := range int64(300) {
				many = append(many, owner{1000 - i, fmt.Sprint("x", i)})
			}
			many = append(many, owner{10, "c"}, owner{3, "b"}, owner{10, "d"}, owner{2, "c"})
			got, _, err = written(t, pool, policy, many...)
			require.NoError(t, err)
			require.Equal(t, []string{"2c", "3b", "5a", "10d"}, got[:4])
			require.Len(t, got, 304)
		})
	}
}

// Two rows that exchange a unique value are written if the constraint is deferrable.
// Otherwise no order of them works, and the error names both.
func TestUpsert_ValuesExchanged(t *testing.T) {
	t.Parallel()
	for _, deferrable := range []string{"deferrable", "deferrable initially deferred"} {
		pool := setup(t, `create table owners (id bigint primary key, email text unique `+deferrable+`)`, `insert into owners values (1, 'a'), (2, 'b')`)
		got, _, err := written(t, pool, nil, owner{1, "b"}, owner{2, "a"})
		require.NoError(t, err)
		require.Equal(t, []string{"1b", "2a"}, got)
	}
	pool := setup(t, `create table owners (id bigint primary key, email text unique)`, `insert into owners values (1, 'a'), (2, 'b')`)
	got, _, err := written(t, pool, nil, owner{1, "b"}, owner{2, "a"})
	require.ErrorContains(t, err, "record row 1")
	require.ErrorContains(t, err, `the row (id)=(2) has that value`)
	require.ErrorContains(t, err, "deferrable")
	require.Equal(t, []string{"1a", "2b"}, got)
}

// A batch that takes longer than statement_timeout is written in parts, which take less. A
// record that takes too long alone fails the attempt, and is no bad record.
func TestInsert_TooMuch(t *testing.T) {
	t.Parallel()
	slow := func(more string) []string {
		return []string{
			`create table numbers (n bigint)`,
			`create function slow() returns trigger language plpgsql as $$ begin if (select count(*) from new) > 9 ` + more + ` then perform pg_sleep(60); end if; return null; end $$`,
			`create trigger slow after insert on numbers referencing new table as new for each statement execute function slow()`,
		}
	}
	timeout := func(pool *pgxpool.Pool) *pgxpool.Pool {
		config := pool.Config()
		config.ConnConfig.RuntimeParams["statement_timeout"] = "300"
		limited, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(limited.Close)
		return limited
	}
	pool := timeout(setup(t, slow("")...))
	run, err := trigger(t, pool, pgtable.Insert[number]("numbers"), nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 100, Written: 100}, run.Counters)

	pool = timeout(setup(t, slow("or exists (select from new where n = 3)")...))
	_, err = trigger(t, pool, pgtable.Insert[number]("numbers"), dataflow.SkipUpTo(100))
	var bad *dataflow.RecordError
	require.NotErrorAs(t, err, &bad)
	require.ErrorContains(t, err, "write records row 3 to row 3")
	require.ErrorContains(t, err, "raise statement_timeout for this role")
}

// A select of the caller's function that a migration has made stale costs no attempt.
func TestFunc_StalePlan(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table numbers (n bigint)`, `create table rates (rate int)`, `insert into rates values (1)`)
	var calls atomic.Int64
	target := pgtable.Func(func(ctx context.Context, tx pgx.Tx, rows []number) error {
		if calls.Add(1) == 2 { // the second batch
			if _, err := pool.Exec(ctx, `alter table rates alter rate type bigint`); err != nil {
				return err
			}
		}
		var rate int64
		if err := tx.QueryRow(ctx, `select * from rates where rate >= $1`, 1).Scan(&rate); err != nil {
			return err
		}
		for _, row := range rows {
			if _, err := tx.Exec(ctx, addNumber, row.N*rate); err != nil {
				return err
			}
		}
		return nil
	})
	run, err := trigger(t, pool, target, nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 100, Written: 100}, run.Counters)
	require.Equal(t, int64(4), calls.Load(), "one batch was written again")
}

// What cannot be upserted into is refused with a way that works.
func TestUpsert_Impossible(t *testing.T) {
	t.Parallel()
	for want, statements := range map[string][]string{
		"the table has rules for insert or update": {`create table other (n bigint)`, `create rule no as on insert to numbers do also insert into other values (new.n)`},
		"it is a view without a table":             {`alter table numbers rename to kept`, `create view numbers as select distinct n from kept`, `create function skip() returns trigger language plpgsql as $$ begin return new; end $$`, `create trigger skip instead of insert on numbers for each row execute function skip()`},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, append([]string{`create table numbers (n bigint primary key)`}, statements...)...)
			_, err := trigger(t, pool, pgtable.Upsert[number]("numbers", "n"), nil)
			require.ErrorContains(t, err, want)
			require.Equal(t, !strings.Contains(want, "unique index"), dataflow.IsPermanent(err), "an index may be made anew")
		})
	}
}

// A trigger that puts the rows elsewhere leaves them counted as written, in small batches and
// in large ones.
func TestUpsert_RoutingTrigger(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table numbers (n bigint primary key)`, `create table elsewhere (n bigint)`,
		`create function route() returns trigger language plpgsql as $$ begin if new.n % 10 = 0 then return new; end if; insert into elsewhere values (new.n); return null; end $$`,
		`create trigger route before insert on numbers for each row execute function route()`)
	for _, size := range []int{20, 100} {
		for i, name := range []string{"first", "again"} {
			run, err := triggerRows(t, pool, fmt.Sprint(name, size), numberRows(100), pgtable.Upsert[number]("numbers", "n"), nil, size)
			require.NoError(t, err)
			redundant := int64(10 * i)
			require.Equal(t, dataflow.Counters{Read: 100, Written: 100 - redundant, Redundant: redundant}, run.Counters, "%s %d", name, size)
		}
		_, err := pool.Exec(t.Context(), `truncate numbers`)
		require.NoError(t, err)
	}
}
