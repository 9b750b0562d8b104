package pgtable_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

type measured struct {
	ID     int
	Double float64
	Single float32
	List   []float64
	Span   pgtype.Interval
	Bytes  []byte
	Day    time.Time
	At     time.Time
}

// A value that is read does not depend on how pgx executes queries, nor on the session's
// settings.
func TestRead_SessionSettings(t *testing.T) {
	t.Parallel()
	want := measured{
		ID: 1, Double: 0.30000000000000004, Single: 5592405.5, List: []float64{0.30000000000000004},
		Span:  pgtype.Interval{Months: 14, Days: 3, Microseconds: 14_706_000_000, Valid: true},
		Bytes: []byte{0, '\\', 'a', 255}, Day: time.Date(2026, 11, 8, 0, 0, 0, 0, time.UTC), At: time.Date(1880, 11, 8, 10, 0, 0, 0, time.UTC),
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool := setupMode(t, mode, map[string]string{
				"extra_float_digits": "0", "intervalstyle": "iso_8601", "bytea_output": "escape", "datestyle": "SQL, DMY", "timezone": "America/New_York",
			}, `create table t (id int primary key, double float8, single float4, list float8[], span interval, bytes bytea, day date, at timestamptz)`,
				`insert into t values (1, 0.1::float8 + 0.2::float8, 16777216.5::float8 / 3, array[0.1::float8 + 0.2::float8],
					interval 'P1Y2M3DT4H5M6S', '\x005c61ff', date '8/11/2026', timestamptz '8/11/1880 10:00:00+00')`)
			items := readAll(t, pgtable.Keyset[measured](pool, pgtable.Query{SQL: "select * from t where id < $1", Args: []any{5}, Key: []string{"id"}}))
			items[0].Value.At = items[0].Value.At.UTC()
			require.Equal(t, []measured{want}, values(items))
			for item, err := range pgtable.Select[measured](pool, "select * from t where id < $1", 5).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
				require.NoError(t, err)
				item.Value.At = item.Value.At.UTC()
				require.Equal(t, want, item.Value)
			}
		})
	}
}
