package pgtable

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// A constraint that the commit would check is checked with the batch. So its error
// is one of the rows, and not of the commit.
func TestSink_DeferredConstraints(t *testing.T) {
	t.Parallel()
	for name, constraint := range map[string]string{
		"foreign key": `foreign key (cents) references other deferrable initially deferred`,
		"unique":      `unique (cents) deferrable initially deferred`,
		"exclusion":   `exclude using btree (cents with =) deferrable initially deferred`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, `create table other (id int primary key)`, `insert into other values (1), (2), (3), (4), (5), (6)`,
				`create table facts (id bigint primary key, name text not null, cents int, constraint "my check" `+constraint+`)`, `insert into facts values (-1, '', 1)`)
			bad := fact{ID: 2, Cents: new(int32(7))}
			if name != "foreign key" {
				bad.Cents = new(int32(1))
			}
			for _, upsert := range []bool{false, true} {
				for _, from := range []int{1, 1 << 30} {
					s := newSink[fact]("facts", upsert, []string{"id"})
					s.to.copyFrom = from
					var pg *pgconn.PgError
					require.ErrorAs(t, write(t, pool, s, fact{ID: 1}, bad), &pg)
					require.Equal(t, "my check", pg.ConstraintName)
					inOneTx(t, pool, s, func(write func(...fact) error) {
						s.to.copyFrom = from
						require.NoError(t, write(fact{ID: 10, Cents: new(int32(2))}, fact{ID: 11, Cents: new(int32(3))}))
						require.ErrorAs(t, write(fact{ID: 1}, bad), &pg)
						require.ErrorAs(t, write(bad), &pg)
						require.NoError(t, write(fact{ID: 1}))
					})
					require.Equal(t, []string{"(1,)", "(10,2)", "(11,3)"}, query(t, pool, `select id, cents from facts where id > 0 order by id`))
					_, err := pool.Exec(t.Context(), `delete from facts where id > 0`)
					require.NoError(t, err)
				}
			}
		})
	}
}

// Rows of one batch may refer to each other in any order, and unique values may be
// exchanged, because the constraints are checked after the batch.
func TestSink_DeferredWithinABatch(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table facts (id bigint primary key, name text not null unique deferrable initially deferred, cents int references facts deferrable initially deferred)`)
	s := newSink[fact]("facts", true, []string{"id"})
	s.to.copyFrom = 1 << 30
	require.NoError(t, write(t, pool, s, fact{1, "a", new(int32(2))}, fact{2, "b", nil}))
	require.NoError(t, write(t, pool, s, fact{1, "b", new(int32(2))}, fact{2, "a", nil}))
	require.Equal(t, []string{"(1,b)", "(2,a)"}, query(t, pool, `select id, name from facts order by id`))
}
