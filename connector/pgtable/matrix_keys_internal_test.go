package pgtable

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// otherSession are settings on which the texts of values depend.
func otherSession() map[string]string {
	return map[string]string{
		"timezone": "Asia/Kathmandu", "bytea_output": "escape", "lc_monetary": "C", "xmloption": "document", "search_path": "public, pg_temp",
	}
}

// oddSession also has the settings that some keys refuse.
func oddSession() map[string]string {
	odd := otherSession()
	odd["datestyle"], odd["intervalstyle"], odd["extra_float_digits"] = "German", "sql_standard", "0"
	return odd
}

// TestMatrix_Keys reads tables in the order of a key of each type, a row a page, each page in
// another session, as after a kill. Each row is read once and in order, or the read is refused
// before its first row.
func TestMatrix_Keys(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	version, types := createMatrix(t, pool)
	pools := []*pgxpool.Pool{pool}
	for _, settings := range []map[string]string{otherSession(), oddSession()} {
		config := pool.Config()
		for name, value := range settings {
			config.ConnConfig.RuntimeParams[name] = value
		}
		other, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		defer other.Close()
		pools = append(pools, other)
	}
	right, refused := 0, 0
	var fails []string
	for i, typ := range types {
		table := fmt.Sprintf("m%d", i)
		_, err := pool.Exec(t.Context(), `delete from `+table+` where v is null`)
		require.NoError(t, err)
		for _, key := range [][]string{{"v", "id"}, {"g", "v", "id"}} {
			query := Query{SQL: `select v, id, 1 as g from ` + table, Key: key, PageSize: 1, LateCommits: Unguarded{}}
			for _, sessions := range [][]*pgxpool.Pool{pools[:2], {pools[2], pools[2]}} {
				ids, err := readInSessions(t.Context(), sessions, query)
				want, orderErr := wantedOrder(t.Context(), pool, table)
				switch {
				case err == nil && orderErr == nil && slices.Equal(ids, want):
					right++
				case err != nil && len(ids) == 0 && dataflow.IsPermanent(err):
					refused++

				default:
					fails = append(fails, fmt.Sprintf("%s by %v: read %v, want %v, error %v", typ.name, key, ids, want, err))
				}
			}
		}
	}
	t.Logf("PostgreSQL %d: %d types of keys: %d reads right, %d refused", version, len(types), right, refused)
	require.Empty(t, strings.Join(fails, "\n"))
}

func wantedOrder(ctx context.Context, pool *pgxpool.Pool, table string) ([]int64, error) {
	rows, err := pool.Query(ctx, `select id from `+table+` order by v, id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// readInSessions reads a row in each session in turn, from the cursor of the last one as it is
// stored.
func readInSessions(ctx context.Context, pools []*pgxpool.Pool, query Query) (ids []int64, err error) {
	type record struct {
		ID int64 `db:"id"`
		G  int32 `db:"g"`
	}
	var from Cursor
	for n := 0; ; n++ {
		source := newKeyset(reflect.TypeFor[record](), pools[n%len(pools)], query)
		r := &reader{keyset: source}
		rows := collectInto[record](r)
		page, err := r.page(ctx, from)
		if err != nil || page.Rows == 0 {
			return ids, err
		}
		if len(page.Bad) > 0 {
			return ids, page.Bad[0]
		}
		ids = append(ids, (*rows)[0].ID)
		width := len(page.Keys) / (page.Rows + 1)
		if !page.More {
			width = len(page.Keys) / page.Rows
		}
		stored, err := json.Marshal(page.Keys[:width])
		if err != nil {
			return ids, err
		}
		from = nil
		if err := json.Unmarshal(stored, &from); err != nil || !page.More {
			return ids, err
		}
	}
}
