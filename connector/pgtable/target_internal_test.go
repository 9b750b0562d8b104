package pgtable

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// asRole returns the owner's pool and the pool of a role without privileges.
func asRole(t *testing.T, statements ...string) (owner, other *pgxpool.Pool, role string) {
	t.Helper()
	address := dbtest.PostgresURL(t)
	owner, err := pgxpool.New(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	u, err := url.Parse(address)
	require.NoError(t, err)
	role = "target_" + u.Path[1:]
	for _, statement := range append(statements, "create role "+role) {
		_, err := owner.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	t.Cleanup(func() {
		_, _ = owner.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role+`; drop role `+role)
	})
	config, err := pgxpool.ParseConfig(address)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["role"] = role
	other, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(other.Close)
	return owner, other, role
}

// inEachWay runs a test with arrays and with COPY.
func inEachWay(t *testing.T, test func(t *testing.T, made func(*sink[fact]) *sink[fact])) {
	t.Helper()
	for _, from := range []int{1, 1 << 30} {
		t.Run(fmt.Sprintf("CopyFrom%d", from), func(t *testing.T) {
			t.Parallel()
			test(t, func(s *sink[fact]) *sink[fact] { s.to.copyFrom = from; return s })
		})
	}
}

// The error of a missing privilege names the table.
func TestSink_NoPrivilege(t *testing.T) {
	t.Parallel()
	inEachWay(t, func(t *testing.T, made func(*sink[fact]) *sink[fact]) {
		t.Helper()
		owner, other, role := asRole(t, `create table "Facts" (id bigint primary key, name text, cents int)`)
		err := write(t, other, made(newSink[fact]("Facts", false, nil)), fact{ID: 1})
		require.ErrorContains(t, err, "table Facts: ")
		require.ErrorContains(t, err, "permission denied for table Facts")
		require.ErrorContains(t, err, "42501")
		_, err = owner.Exec(t.Context(), `grant insert on "Facts" to `+role)
		require.NoError(t, err)
		require.NoError(t, write(t, other, made(newSink[fact]("Facts", false, nil)), fact{ID: 1}))
		err = write(t, other, made(newSink[fact]("Facts", true, []string{"id"})), fact{ID: 1})
		require.ErrorContains(t, err, "permission denied for table Facts", "an upsert reads and updates too")
		_, err = owner.Exec(t.Context(), `grant select, update on "Facts" to `+role)
		require.NoError(t, err)
		require.NoError(t, write(t, other, made(newSink[fact]("Facts", true, []string{"id"})), fact{ID: 1, Name: "new"}))
		require.Equal(t, []string{"(1,new,)"}, query(t, owner, `select id, name, cents from "Facts"`))
	})
}

// Row security policies apply to written rows. A row that they forbid fails.
func TestSink_RowSecurity(t *testing.T) {
	t.Parallel()
	inEachWay(t, func(t *testing.T, made func(*sink[fact]) *sink[fact]) {
		t.Helper()
		owner, other, role := asRole(t, `create table facts (id bigint primary key, name text, cents int)`,
			`alter table facts enable row level security`, `create policy small on facts using (id < 100)`)
		_, err := owner.Exec(t.Context(), `grant all on facts to `+role)
		require.NoError(t, err)
		for _, s := range []*sink[fact]{newSink[fact]("facts", false, nil), newSink[fact]("facts", true, []string{"id"})} {
			err = write(t, other, made(s), fact{ID: 1}, fact{ID: 100})
			require.ErrorContains(t, err, `new row violates row-level security policy for table "facts"`)
			require.Empty(t, query(t, owner, `select id from facts`))
		}
		require.NoError(t, write(t, other, made(newSink[fact]("facts", false, nil)), fact{ID: 1}, fact{ID: 2}))
		require.NoError(t, write(t, other, made(newSink[fact]("facts", true, []string{"id"})), fact{ID: 2, Name: "two"}, fact{ID: 3}))
		require.Equal(t, []string{"(1,)", "(2,two)", "(3,)"}, query(t, owner, `select id, nullif(name, '') as name from facts order by id`))
	})
}

// Triggers see every written row, and may change or skip it.
func TestSink_Triggers(t *testing.T) {
	t.Parallel()
	inEachWay(t, func(t *testing.T, made func(*sink[fact]) *sink[fact]) {
		t.Helper()
		pool := setup(t, `create table facts (id bigint primary key, name text, cents int, twice int generated always as (cents * 2) stored)`,
			`create table seen (op text, id bigint)`,
			`create function loud() returns trigger language plpgsql as $$ begin
				if new.id = 2 then return null; end if;
				new.name = upper(new.name);
				return new;
			end $$`,
			`create function note() returns trigger language plpgsql as $$ begin insert into seen values (tg_op, new.id); return null; end $$`,
			`create trigger loud before insert or update on facts for each row execute function loud()`,
			`create trigger note after insert or update on facts for each row execute function note()`)
		require.NoError(t, write(t, pool, made(newSink[fact]("facts", false, nil)), fact{1, "one", ptr[int32](1)}, fact{2, "two", nil}, fact{3, "three", ptr[int32](3)}))
		require.NoError(t, write(t, pool, made(newSink[fact]("facts", true, []string{"id"})), fact{3, "third", nil}, fact{4, "four", nil}))
		require.Equal(t, []string{"(1,ONE,2)", "(3,THIRD,)", "(4,FOUR,)"}, query(t, pool, `select id, name, twice from facts order by id`))
		require.ElementsMatch(t, []string{"(INSERT,1)", "(INSERT,3)", "(UPDATE,3)", "(INSERT,4)"}, query(t, pool, `select op, id from seen`))
	})
}
