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

// An enum is compared in its own order, and not in that of its texts.
func TestUpsertTo_OnlyIfNewerEnum(t *testing.T) {
	t.Parallel()
	type graded struct {
		ID    int64
		Grade *string
		Name  string
	}
	db := setup(t, "create table t (id bigint primary key, grade enum('low', 'mid', 'high'), name varchar(50)) engine = InnoDB")
	sink := claimed(t, sqltable.UpsertTo[graded](db, "t", "id").OnlyIfNewer("grade"))
	low, mid, high := "low", "mid", "high"
	for _, rows := range [][]graded{
		{{1, &low, "a"}, {2, nil, "a"}, {3, &high, "a"}, {4, &mid, "a"}},
		{{1, &mid, "b"}, {1, &high, "newest"}, {1, &low, "c"}, {2, &low, "newest"}, {2, nil, "c"}, {3, &mid, "b"}, {4, &mid, "newest"}, {3, &high, "newest"}},
	} {
		require.NoError(t, sink.WriteFenced(t.Context(), batch(1, rows...)))
	}
	require.Equal(t, []string{"newest"}, texts(t, db, "select distinct name from t"))
	require.Equal(t, []string{"high", "low", "high", "mid"}, texts(t, db, "select cast(grade as char) from t order by id"))
}

// A number in a column of texts, and the wall clock of a zone with summer time, are not in their order.
func TestUpsertTo_OnlyIfNewerOrder(t *testing.T) {
	t.Parallel()
	type numbered struct {
		ID      int64
		Version int64
	}
	c := config(t)
	db := opened(t, c)
	execAll(t, db, "create table n (id bigint primary key, version varchar(20)) engine = InnoDB", "create table t (id bigint primary key, updated_at datetime(6), name varchar(50)) engine = InnoDB")
	err := claimed(t, sqltable.UpsertTo[numbered](db, "n", "id").OnlyIfNewer("version")).WriteFenced(t.Context(), batch(1, numbered{1, 9}))
	require.ErrorContains(t, err, `column "version" (field Version) is of type varchar, in which numbers are not in their order`)
	require.True(t, dataflow.IsPermanent(err))

	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, parse := range []bool{true, false} {
		c = c.Clone()
		c.Loc, c.ParseTime = berlin, parse
		sink := claimed(t, sqltable.UpsertTo[dated](opened(t, c), "t", "id").OnlyIfNewer("updated_at"))
		err = sink.WriteFenced(t.Context(), batch(1, dated{1, at(1), "a"}))
		require.ErrorContains(t, err, `column "updated_at" (field UpdatedAt) is a datetime, and the DSN's loc is a zone in which two moments have the same time`)
		require.True(t, dataflow.IsPermanent(err))
	}
	c.Loc, err = time.LoadLocation("Etc/GMT-1")
	require.NoError(t, err)
	require.NoError(t, claimed(t, sqltable.UpsertTo[dated](opened(t, c.Clone()), "t", "id").OnlyIfNewer("updated_at")).WriteFenced(t.Context(), batch(1, dated{1, at(1), "a"})))
}
