package pgtable

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// inOneTx calls fn in one transaction, with a function that writes a part.
func inOneTx(t *testing.T, pool *pgxpool.Pool, s *sink[fact], fn func(write func(rows ...fact) error)) {
	t.Helper()
	s.to.copyFrom = 1
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		fn(func(rows ...fact) error {
			if s.to.upsert {
				return reporting(s).WritePartTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
			}
			return s.WritePartTx(ctx, rows, nil)
		})
		return nil
	}))
}

// A rejected part leaves the transaction as it was, whatever the reason. The error
// names the row if it is known.
func TestWritePartTx(t *testing.T) {
	t.Parallel()
	for _, upsert := range []bool{false, true} {
		pool := setup(t, `create table other (id int primary key)`,
			`create function slow(name text) returns bool language plpgsql as $$ begin if name = 'slow' then raise 'as if' using errcode = '57014'; end if; return true; end $$`,
			`create table facts (id bigint primary key, name varchar(5) not null check (name <> 'no') check (slow(name)), cents int references other)`, `insert into facts values (-7, '', null)`)
		s := newSink[fact]("facts", upsert, []string{"id"})
		inOneTx(t, pool, s, func(write func(...fact) error) {
			next := int64(0)
			good := func() fact { next++; return fact{ID: next} }
			for _, c := range []struct {
				name  string
				bad   fact
				want  string
				named bool
			}{
				{"zero byte", fact{Name: "\x00"}, "22021", true},
				{"check", fact{Name: "no"}, "23514", true},
				{"length", fact{Name: "longer"}, "22001", true},
				{"reference", fact{Cents: new(int32(5))}, "23503", false},
				{"key", fact{ID: -7}, "23505", true},
				{"time", fact{Name: "slow"}, "57014", false},
			} {
				if c.bad.ID == 0 {
					next++
					c.bad.ID = next
				} else if upsert {
					continue
				}
				err := write(good(), good(), c.bad, good())
				require.ErrorContains(t, err, c.want, c.name)
				var row *dataflow.RowError
				if c.named {
					require.ErrorAs(t, err, &row, c.name)
					require.Equal(t, 2, row.Row, c.name)
					require.True(t, row.Alone, c.name)
				}
				require.NoError(t, write(good(), good()), c.name)
			}
			require.NoError(t, write(fact{ID: 1000}))
		})
		written := map[bool]string{false: "(14)", true: "(12)"}[upsert]
		require.Equal(t, []string{written}, query(t, pool, `select count(*) from facts`))
		require.Zero(t, s.to.refused.Load())
	}
}

// COPY's error about a row is ignored if COPY has misread the values. Then the engine writes the batch again.
func TestWritePartTx_ColumnChanged(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts, `insert into facts values (0, '', 0)`)
	s := newSink[fact]("facts", false, nil)
	inOneTx(t, pool, s, func(write func(...fact) error) { require.NoError(t, write(fact{ID: 1, Cents: new(int32(5))})) })
	_, err := pool.Exec(t.Context(), `delete from facts where id = 0; alter table facts alter cents type real, add check (cents > 1)`)
	require.NoError(t, err)
	inOneTx(t, pool, s, func(write func(...fact) error) {
		rows := []fact{{ID: 2, Cents: new(int32(5))}, {ID: 3, Cents: new(int32(6))}}
		require.True(t, isStale(write(rows...)))
		require.NoError(t, write(rows...))
	})
	require.Equal(t, []string{"(1,5)", "(2,5)", "(3,6)"}, query(t, pool, `select id, cents from facts order by id`))
}

// COPY fires no rules. So a rule that is made meanwhile ends its use.
func TestCopy_RuledMeanwhile(t *testing.T) {
	t.Parallel()
	for _, part := range []bool{false, true} {
		pool := setup(t, createFacts)
		s := newSink[fact]("facts", false, nil)
		require.NoError(t, write(t, pool, s, fact{ID: 1}))
		_, err := pool.Exec(t.Context(), `create rule none as on insert to facts where new.id > 2 do instead nothing`)
		require.NoError(t, err)
		if part {
			inOneTx(t, pool, s, func(write func(...fact) error) {
				require.NoError(t, write(fact{ID: 2}, fact{ID: 3}))
				require.NoError(t, write(fact{ID: 4}))
			})
		} else {
			require.NoError(t, write(t, pool, s, fact{ID: 2}, fact{ID: 3}))
		}
		require.Equal(t, []string{"(1)", "(2)"}, query(t, pool, `select id from facts order by id`))
	}
}
