package pgtable_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// A key of times that is converted in a time zone keeps the place of its cursor if the rows show
// in which zone. Any other cursor is refused, and never one row is lost or read again.
func TestKeyset_KeyTypeZone(t *testing.T) {
	t.Parallel()
	const unknown = "the rows do not show in which time zone the column was converted: none of America/Los_Angeles, UTC puts the row of the cursor where one is now"
	for name, c := range map[string]struct {
		columns, rows string
		key           []string
		at            int
		convert       []string
		then          string // executed after the conversion
		role          string // the time zone of the role
		refused       string
	}{
		"the session's zone": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-02', 3), ('2024-01-03', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`},
		},
		"UTC": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-02', 3), ('2024-01-03', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`set time zone 'UTC'`, `alter table t alter k type timestamptz`, `reset time zone`},
		},
		"the zone of a role": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-02', 3), ('2024-01-03', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`set time zone 'Asia/Tokyo'`, `alter table t alter k type timestamptz`, `reset time zone`}, role: "Asia/Tokyo",
		},
		"another zone": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-02', 3), ('2024-01-03', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`set time zone 'Asia/Tokyo'`, `alter table t alter k type timestamptz`, `reset time zone`}, refused: unknown,
		},
		"a new row where the cursor's would be in another zone": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-03', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`set time zone 'Asia/Tokyo'`, `alter table t alter k type timestamptz`, `reset time zone`}, then: `insert into t values ('2024-01-02 00:00Z', 9)`, refused: unknown,
		},
		"the row is gone": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-03', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`}, then: `delete from t where n = 2`, refused: unknown,
		},
		"in two zones": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-03', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz using case n when 1 then k::timestamp at time zone 'UTC' else k end`}, refused: unknown,
		},
		"new rows": {
			columns: `k date, n int`, rows: `('2024-01-01', 1), ('2024-01-02', 2), ('2024-01-03', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`}, then: `insert into t values ('2024-01-02 08:00:01Z', 4), ('2024-01-04 12:34Z', 5)`,
		},
		"a midnight that does not exist": {
			columns: `k date, n int`, rows: `('2017-10-14', 1), ('2017-10-15', 2), ('2017-10-16', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`set time zone 'America/Sao_Paulo'`, `alter table t alter k type timestamptz`, `reset time zone`}, role: "America/Sao_Paulo",
		},
		"a day that does not exist": {
			columns: `k date, n int`, rows: `('2011-12-29', 1), ('2011-12-30', 2), ('2011-12-31', 3)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`set time zone 'Pacific/Apia'`, `alter table t alter k type timestamptz`, `reset time zone`}, role: "Pacific/Apia",
			refused: "none of America/Los_Angeles, Pacific/Apia, UTC puts",
		},
		"several columns": {
			columns: `a date, k timestamp, n int`, rows: `('2024-01-01', '2024-01-01 10:00', 1), ('2024-01-02', '2024-01-01 05:00', 2), ('2024-01-02', '2024-01-01 06:00', 3)`, key: []string{"a", "k", "n"}, at: 2,
			convert: []string{`alter table t alter a type timestamptz, alter k type timestamptz`},
		},
		"timestamp and id": {
			columns: `k timestamp, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 2), ('2024-01-01 06:00', 3), ('2024-01-01 07:00', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`},
		},
		"timestamp as UTC": {
			columns: `k timestamp, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 2), ('2024-01-01 06:00', 3), ('2024-01-01 07:00', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz using k at time zone 'UTC'`},
		},
		"timestamp and no unique id": {
			columns: `k timestamp, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 1), ('2024-01-01 07:00', 1), ('2024-01-01 08:00', 1), ('2024-01-01 14:00', 1)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`}, refused: unknown,
		},
		"timestamp of a changed row": {
			columns: `k timestamp, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 2), ('2024-01-01 07:00', 3)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz`}, then: `update t set k = '2024-01-05 06:00' where n = 2`, refused: unknown,
		},
		"timestamp in the hour that does not exist": {
			columns: `k timestamp, n int`, rows: `('2024-03-10 02:30', 1), ('2024-03-10 03:15', 2), ('2024-03-10 04:00', 3)`, key: []string{"k", "n"}, at: 1,
			convert: []string{`alter table t alter k type timestamptz`}, refused: unknown,
		},
		"timestamp without zone": {
			columns: `k timestamptz, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 2), ('2024-01-01 06:00', 3), ('2024-01-01 07:00', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamp`},
		},
		"timestamp without zone in UTC": {
			columns: `k timestamptz, n int`, rows: `('2024-01-01 05:00', 1), ('2024-01-01 06:00', 2), ('2024-01-01 06:00', 3), ('2024-01-01 07:00', 4)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamp using k at time zone 'UTC'`},
		},
		"timestamp without zone in the hour that repeats": {
			columns: `k timestamptz, n int`, rows: `('2024-11-03 08:10Z', 1), ('2024-11-03 08:50Z', 2), ('2024-11-03 09:20Z', 3)`, key: []string{"k", "n"}, at: 2,
			convert: []string{`alter table t alter k type timestamp`}, refused: unknown,
		},
		"time of two zones": {
			columns: `k time, n int`, rows: `('05:00', 1), ('06:00', 2), ('07:00', 3)`, key: []string{"k"}, at: 2,
			convert: []string{`alter table t alter k type timetz`}, then: `update t set k = '05:30+09' where n = 1`,
			refused: "the rows do not show in which time zone the column was converted: none of ",
		},
		"folded texts": {
			columns: `k date, w varchar, n int`, rows: `('2024-01-01', 'a', 1), ('2024-01-01', 'b', 2), ('2024-01-02', 'C', 3)`, key: []string{"k", "w"}, at: 2,
			convert: []string{`alter table t alter k type timestamptz, alter w type citext`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "America/Los_Angeles"}, `create extension if not exists citext`,
				`create table t (`+c.columns+`)`, `insert into t values `+c.rows)
			if c.role != "" {
				exec(t, pool, `do $$ begin execute format('alter database %I set timezone = ''`+c.role+`''', current_database()); end $$`)
			}
			source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select * from t`, Key: c.key, PageSize: 1, LateCommits: pgtable.Unguarded{}})
			if len(c.key) == 3 || len(c.columns) > 20 {
				source = pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select * from t where n < $1`, Args: []any{99}, Key: c.key, PageSize: 1, LateCommits: pgtable.Unguarded{}})
			}
			before := readAll(t, source)
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			for _, sql := range c.convert {
				_, err := conn.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
			conn.Release()
			if c.then != "" {
				exec(t, pool, c.then)
			}
			from := before[c.at-1].Cursor
			rest, err := read(t, source, from, -1)
			var upTo []dataflow.Item[numbered, pgtable.Cursor]
			var upToErr error
			for item, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{Bounded: true, Until: from}) {
				if upToErr = err; err == nil {
					upTo = append(upTo, item)
				}
			}
			left, leftErr := source.(interface { //nolint:forcetypeassert // it counts
				Count(ctx context.Context, r dataflow.Request[pgtable.Cursor]) (int64, error)
			}).Count(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: from})
			if c.refused != "" {
				require.ErrorContains(t, err, c.refused)
				require.True(t, dataflow.IsPermanent(err))
				require.Empty(t, rest)
				require.ErrorContains(t, upToErr, c.refused)
				require.ErrorContains(t, leftErr, c.refused)
				return
			}
			require.NoError(t, err)
			require.NoError(t, upToErr)
			require.NoError(t, leftErr)
			after := readAll(t, source)
			require.Equal(t, values(before[:c.at]), values(upTo))
			require.Equal(t, values(after[c.at:]), values(rest))
			require.GreaterOrEqual(t, len(after), len(before))
			require.EqualValues(t, len(rest), left)
		})
	}
}
