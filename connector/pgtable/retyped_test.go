package pgtable_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// readRetyped reads 1000 rows, and alters the key's column at the 300th. It returns how many rows it has read.
func readRetyped[T any](t *testing.T, mode pgx.QueryExecMode, zone, declared, alter string) (read int) {
	t.Helper()
	pool := setupMode(t, mode, map[string]string{"timezone": zone}, `create table moments (id bigint primary key, k `+declared+`)`,
		`insert into moments select n, '2024-01-01'::timestamptz + n * interval '1 minute' from generate_series(1, 1000) n`)
	owner := open(t, pool.Config().ConnString(), pgx.QueryExecModeSimpleProtocol, nil)
	source := pgtable.Keyset[T](pool, pgtable.Query{SQL: `select id, k from moments`, Key: []string{"k", "id"}, PageSize: 20, LateCommits: pgtable.Unguarded{}})
	for _, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
		require.NoError(t, err)
		read++
		require.LessOrEqual(t, read, 1000, "a row was read twice")
		if read == 300 {
			alterMoments(t, owner, alter)
		}
	}
	return read
}

func alterMoments(t *testing.T, pool *pgxpool.Pool, alter string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `alter table moments alter k type `+alter)
	require.NoError(t, err)
}

// A read whose key is altered from a timestamptz to a timestamp goes on at the same row, in each mode of executing queries,
// whether the record has the key or not.
func TestKeyset_RetypedMeanwhile(t *testing.T) {
	t.Parallel()
	type without struct{ ID int64 }
	type with struct {
		ID int64
		K  any
	}
	for _, zone := range []string{"America/New_York", "Asia/Kolkata"} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			t.Run(zone+" "+mode.String(), func(t *testing.T) {
				t.Parallel()
				for _, to := range []string{"UTC", zone} {
					alter := `timestamp using k at time zone '` + to + `'`
					require.Equal(t, 1000, readRetyped[without](t, mode, zone, `timestamptz`, alter))
					require.Equal(t, 1000, readRetyped[with](t, mode, zone, `timestamptz`, alter))
				}
			})
		}
	}
}
