package pgtable

import (
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A column that is "not null … not valid", as Postgres 18 has it, may hold NULL in rows that are older than the constraint.
// Earlier versions get its marks in their catalog.
func TestKeyset_NotNullNotValid(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), dbtest.PostgresURL(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `
		create table strict (a bigint not null, b bigint not null);
		create table loose (a bigint not null, b bigint);
		insert into loose values (1, 1), (1, null), (2, 1);
		do $$ begin
			if current_setting('server_version_num')::int >= 180000 then
				execute 'alter table loose add constraint filled not null b not valid';
			else
				alter table loose add constraint filled check (b is not null) not valid;
				update pg_catalog.pg_constraint set contype = 'n' where conname = 'filled';
				update pg_catalog.pg_class set relchecks = 0 where oid = 'loose'::regclass;
				update pg_catalog.pg_attribute set attnotnull = true where attrelid = 'loose'::regclass and attname = 'b';
			end if;
		end $$`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	for table, nullable := range map[string]bool{"strict": false, "loose": true} {
		r := &reader{keyset: newKeyset(reflect.TypeFor[struct{ A, B int64 }](), pool, Query{SQL: `select a, b from ` + table, Key: []string{"a", "b"}})}
		_, err := r.describe(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, r.lookUpNullable(t.Context()))
		require.Equal(t, nullable, r.nullable, table)
	}
}
