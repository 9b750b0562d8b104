package pgtable

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

type pipelinedRow struct{ ID, Cents int64 }

// A table whose writes look at other rows is not pipelined: they would miss the
// rows of the batch before.
func TestSink_Pipelined(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create function nothing() returns trigger language plpgsql as 'begin return new; end'`)
	for _, c := range []struct {
		name, table string
		want        bool
	}{
		{"plain", `create table plain (id bigint primary key, cents bigint)`, true},
		{"child", `create table child (id bigint primary key references plain, cents bigint)`, true},
		{"parts", `create table parts (id bigint primary key, cents bigint) partition by range (id); create table parts_1 partition of parts for values from (0) to (9)`, true},
		{"tree", `create table tree (id bigint primary key, cents bigint references tree)`, false},
		{"triggered", `create table triggered (id bigint, cents bigint); create trigger nothing before insert on triggered for each row execute function nothing()`, false},
		{"deep", `create table deep (id bigint primary key, cents bigint) partition by range (id); create table deep_1 partition of deep for values from (0) to (9);
			create trigger nothing before insert on deep_1 for each row execute function nothing()`, false},
		{"ruled", `create table ruled (id bigint, cents bigint); create rule none as on insert to ruled where new.id < 0 do instead nothing`, false},
	} {
		_, err := pool.Exec(t.Context(), c.table, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		s := newSink[pipelinedRow](c.name, false, nil)
		require.False(t, s.Pipelined(), "nothing is known of the table yet")
		require.NoError(t, write(t, pool, s, pipelinedRow{ID: 1, Cents: 1}))
		require.Equal(t, c.want, s.Pipelined(), c.name)
	}
	// An upsert that looks first which rows exist awaits the commit of the batch before.
	_, err := pool.Exec(t.Context(), `create table upserted (id bigint primary key, cents bigint, n bigserial)`)
	require.NoError(t, err)
	s := newSink[pipelinedRow]("upserted", true, []string{"id"})
	require.NoError(t, write(t, pool, s, pipelinedRow{ID: 1, Cents: 1}))
	require.True(t, s.Pipelined())
}
