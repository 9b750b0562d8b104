//go:build unix

package mysqltest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type dated struct {
	ID        int64
	UpdatedAt *time.Time
	Name      string
}

func at(hour int) *time.Time {
	if hour == 0 {
		return nil
	}
	day := time.Date(2024, 1, 1, hour, 0, 0, 0, time.UTC)
	return &day
}

// A row is replaced as a whole or not at all, and the newest record of a batch counts.
func TestUpsertTo_OnlyIfNewer(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"datetime(6)", "timestamp(6) null"} {
		db := setup(t, "create table t (id bigint primary key, updated_at "+typ+", name varchar(50)) engine = InnoDB")
		sink := claimed(t, sqltable.UpsertTo[dated](db, "t", "id").OnlyIfNewer("updated_at"))
		write := func(rows ...dated) {
			t.Helper()
			require.NoError(t, sink.WriteFenced(t.Context(), batch(1, rows...)))
		}
		all := func() (list []string) {
			rows, err := db.QueryContext(t.Context(), "select id, name, coalesce(hour(updated_at), 0) from t order by id")
			require.NoError(t, err)
			defer func() { require.NoError(t, rows.Close()) }()
			for rows.Next() {
				var id, hour int
				var name string
				require.NoError(t, rows.Scan(&id, &name, &hour))
				list = append(list, fmt.Sprint(id, " ", name, " ", hour))
			}
			require.NoError(t, rows.Err())
			return list
		}
		write(dated{1, at(5), "a"}, dated{2, nil, "b"})
		write(dated{1, at(4), "older"}, dated{2, at(1), "B"}, dated{3, at(1), "c"})
		require.Equal(t, []string{"1 a 5", "2 B 1", "3 c 1"}, all())
		write(dated{1, at(5), "equal"}, dated{2, nil, "NULL is the oldest"}, dated{3, at(2), "C"})
		require.Equal(t, []string{"1 equal 5", "2 B 1", "3 C 2"}, all())
		write(dated{1, at(7), "second"}, dated{1, at(9), "newest"}, dated{1, at(6), "old"}, dated{2, at(9), "newest"}, dated{2, nil, "null"},
			dated{3, at(3), "x"}, dated{3, at(3), "later of equal"}, dated{4, at(9), "newest"}, dated{4, at(8), "old"}, dated{5, nil, "null"}, dated{5, nil, "later null"})
		require.Equal(t, []string{"1 newest 9", "2 newest 9", "3 later of equal 3", "4 newest 9", "5 later null 0"}, all())
	}
}

// What has no order is refused before anything is written.
func TestUpsertTo_OnlyIfNewerRefused(t *testing.T) {
	t.Parallel()
	db := setup(t, "create table t (id bigint primary key, updated_at varchar(50), name point) engine = InnoDB")
	for column, want := range map[string]string{
		"updated_at": `column "updated_at" (field UpdatedAt) is of type varchar, in which times are not in their order`,
		"name":       `column "name" (field Name) is of type point, which has no order`,
	} {
		sink := claimed(t, sqltable.UpsertTo[dated](db, "t", "id").OnlyIfNewer(column))
		err := sink.WriteFenced(t.Context(), batch(1, dated{1, at(1), "a"}))
		require.ErrorContains(t, err, want)
		require.True(t, dataflow.IsPermanent(err))
	}
}
