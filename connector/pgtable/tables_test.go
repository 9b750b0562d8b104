package pgtable_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgtable"
)

// Each kind of relation is read in pages, and each later page by another source, as after a kill.
// What is read can be written to each kind that takes rows.
func TestKeyset_Relations(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table plain (id int primary key, n int not null)`,
		`create table parts (id int, n int not null, primary key (id)) partition by range (id)`,
		`create table parts_a partition of parts for values from (0) to (3)`,
		`create table parts_b (n int not null, gone text, id int not null)`,
		`alter table parts_b drop gone`,
		`alter table parts attach partition parts_b for values from (3) to (100)`,
		`create table parent (id int primary key, n int not null)`,
		`create table child (more text) inherits (parent)`,
		`create view shown as select id, n from plain where n > 0`,
		`create materialized view kept as select id, n from plain with no data`,
		`create table generated (n int not null, gone int, id int generated always as (n * 10) stored primary key)`,
		`alter table generated drop gone`,
		`create table counted (n int not null, id int generated always as identity primary key)`,
		`create schema "Odd.Schema"`,
		`create table "Odd.Schema"."My ""Table""" ("select" int primary key, "N" int not null)`,
		`insert into plain select i, i from generate_series(1, 5) i`,
		`refresh materialized view kept`,
		`insert into parts select * from plain`,
		`insert into parent select * from plain where id < 3`,
		`insert into child select *, 'x' from plain where id > 2`,
		`insert into generated (n) select n from plain`,
		`insert into counted (n) select n from plain`,
		`insert into "Odd.Schema"."My ""Table""" select * from plain`)
	queries := map[string]pgtable.Query{
		"table":       {SQL: `select id, n from plain`, Key: []string{"id"}},
		"partitioned": {SQL: `select id, n from parts`, Key: []string{"id"}},
		"partition":   {SQL: `select id, n from parts_b`, Key: []string{"id"}},
		"inherited":   {SQL: `select id, n from parent`, Key: []string{"id"}},
		"view":        {SQL: `select id, n from shown`, Key: []string{"id"}},
		"kept view":   {SQL: `select id, n from kept`, Key: []string{"id"}},
		"generated":   {SQL: `select id, n from generated`, Key: []string{"id"}},
		"identity":    {SQL: `select id, n from counted`, Key: []string{"id"}},
		"quoted":      {SQL: `select "select", "N" as n from "Odd.Schema"."My ""Table"""`, Key: []string{"select"}},
		"two columns": {SQL: `select id / 2 as half, id, n from parts`, Key: []string{"half", "id"}},
	}
	if foreign := foreignTable(t, pool); foreign {
		queries["foreign"] = pgtable.Query{SQL: `select id, n from far`, Key: []string{"id"}}
	}
	for name, query := range queries {
		query.PageSize = 1
		want := []numbered{{1}, {2}, {3}, {4}, {5}}
		if name == "partition" {
			want = want[2:]
		}
		var cursor pgtable.Cursor
		for i := range want {
			items, err := read(t, pgtable.Keyset[numbered](pool, query), cursor, 1)
			require.NoError(t, err, name)
			require.Len(t, items, 1, "%s: after %v", name, cursor)
			require.Equal(t, want[i], items[0].Value, name)
			cursor = items[0].Cursor
		}
		items, err := read(t, pgtable.Keyset[numbered](pool, query), cursor, -1)
		require.NoError(t, err, name)
		require.Empty(t, items, name)
	}
}

// foreignTable makes the foreign table far of the table plain, if the server has postgres_fdw.
func foreignTable(t *testing.T, pool *pgxpool.Pool) bool {
	t.Helper()
	var there bool
	require.NoError(t, pool.QueryRow(t.Context(), `select exists (select from pg_catalog.pg_available_extensions where name = 'postgres_fdw')`).Scan(&there))
	c := pool.Config().ConnConfig
	if _, err := os.Stat(filepath.Join(c.Host, ".s.PGSQL."+strconv.Itoa(int(c.Port)))); err != nil || !there {
		return false
	}
	exec(t, pool, `create extension postgres_fdw`)
	exec(t, pool, `create server near foreign data wrapper postgres_fdw options (host '`+c.Host+`', port '`+strconv.Itoa(int(c.Port))+`', dbname '`+c.Database+`')`)
	exec(t, pool, `create user mapping for current_user server near options (user '`+c.User+`')`)
	exec(t, pool, `create foreign table far (id int not null, n int not null) server near options (table_name 'plain')`)
	return true
}
