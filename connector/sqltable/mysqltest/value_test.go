//go:build unix

package mysqltest

import (
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// outcomes reads a source, and returns the values and, by place, the errors of bad records.
func outcomes[T, C any](t *testing.T, source dataflow.Source[T, C]) ([]T, map[int]string) {
	t.Helper()
	var all []T
	bad := map[int]string{}
	for it, err := range source.Read(t.Context(), dataflow.Request[C]{}) {
		if err != nil {
			var re *dataflow.RecordError
			require.ErrorAs(t, err, &re)
			bad[len(all)] = re.Err.Error()
		}
		all = append(all, it.Value)
	}
	return all, bad
}

// Dates that the calendar does not have are bad records. The driver would return other dates.
func TestValues_ZeroDates(t *testing.T) {
	t.Parallel()
	c := config(t)
	lax := c.Clone()
	lax.Params["sql_mode"] = "''"
	db := opened(t, lax)
	execAll(t, db, "create table z (n int primary key, d datetime(6), e date)",
		"insert into z values (1, '2024-02-29 10:00:00', '2024-02-29'), (2, '0000-00-00 00:00:00', '2024-01-01'), (3, '0000-00-00 00:00:00.123456', '2024-01-01'), "+
			"(4, '2023-07-00 10:00:00', '2024-01-01'), (5, '2024-01-01', '2023-00-05'), (6, null, null)")
	type row struct {
		N int
		D *time.Time
		E sql.NullTime
	}
	type strict struct {
		N int
		D time.Time
	}
	day := func(text string) time.Time {
		at, err := time.Parse(time.DateOnly, text)
		require.NoError(t, err)
		return at
	}
	for _, size := range []int{1, 2, 100} {
		q := sqltable.Query{SQL: "select * from z", Key: []string{"n"}, PageSize: size}
		_, bad := outcomes(t, sqltable.Keyset[row](db, q))
		require.Equal(t, map[int]string{
			1: `column "d": '0000-00-00 00:00:00.000000' is not a date: correct it, or read it as text with cast(… as char)`,
			2: `column "d": '0000-00-00 00:00:00.123456' is not a date: correct it, or read it as text with cast(… as char)`,
			3: `column "d": '2023-07-00 10:00:00.000000' is not a date: correct it, or read it as text with cast(… as char)`,
			4: `column "e": '2023-00-05' is not a date: correct it, or read it as text with cast(… as char)`,
		}, bad)
		q.ZeroDateNull = true
		rows, bad := outcomes(t, sqltable.Keyset[row](db, q))
		require.Empty(t, bad)
		for i, r := range rows {
			require.Equal(t, i == 0 || i == 4, r.D != nil, "row %d", r.N)
			require.Equal(t, i < 4, r.E.Valid, "row %d", r.N)
		}
		require.Equal(t, day("2024-02-29"), rows[0].E.Time)
		_, bad = outcomes(t, sqltable.Keyset[strict](db, sqltable.Query{SQL: "select n, d from z where n < 6", Key: []string{"n"}, PageSize: size, ZeroDateNull: true}))
		require.Len(t, bad, 3, "a time.Time cannot be NULL")
	}
	_, bad := outcomes(t, sqltable.Select[row](db, "select * from z where n < 4"))
	require.Len(t, bad, 2)
	require.Contains(t, bad[1], "'0000-00-00' is not a date")
	require.Contains(t, bad[2], "'0000-00-00' is not a date")
}

// A value does not depend on the page that it is read on, nor on how the driver is set.
func TestValues_SameOnEachPage(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := opened(t, c)
	interpolating := c.Clone()
	interpolating.InterpolateParams = true
	connector, err := mysql.NewConnector(interpolating)
	require.NoError(t, err)
	other := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	execAll(t, db, "create table f (id int primary key, f float, d double, m decimal(20, 10), t time(3), y year, b bit(1), c bit(20), j json)")
	for id := range 5 {
		_, err := db.ExecContext(t.Context(), "insert into f values (?, 16777217, 0.1, 1.0000000001, '-838:59:58.123', 2024, b'1', b'10000000000000000001', '{\"a\": 1}')", id+1)
		require.NoError(t, err)
	}
	type row struct {
		ID   int64
		F    float64
		D    float64
		M    string
		T    string
		Y    int
		B    bool
		C    uint32
		J    string
		Text string
	}
	const query = "select id, f, d, m, t, y, b, c, j, cast(f as char) as text from f"
	want := row{F: 16777216, D: 0.1, M: "1.0000000001", T: "-838:59:58.123", Y: 2024, B: true, C: 1<<19 + 1, J: `{"a": 1}`}
	for _, db := range []*sql.DB{db, other} {
		for _, size := range []int{1, 2, 3, 100} {
			rows, bad := outcomes(t, sqltable.Keyset[row](db, sqltable.Query{SQL: query, Key: []string{"id"}, PageSize: size}))
			require.Empty(t, bad)
			require.Len(t, rows, 5)
			for i, r := range rows {
				want.ID, want.Text = int64(i+1), r.Text
				require.Equal(t, want, r)
			}
		}
		for _, args := range [][]any{nil, {0}} {
			sql := query
			if args != nil {
				sql += " where id > ?"
			}
			rows, bad := outcomes(t, sqltable.Select[row](db, sql+" order by id", args...))
			require.Empty(t, bad)
			require.Len(t, rows, 5)
			for i, r := range rows {
				want.ID, want.Text = int64(i+1), r.Text
				require.Equal(t, want, r)
			}
		}
	}
}

// Bits are numbers, one bit is a bool.
func TestValues_Bits(t *testing.T) {
	t.Parallel()
	db := setup(t, "create table b (n int primary key, b bit(1), w bit(64))",
		"insert into b values (1, b'0', 0), (2, b'1', 255), (3, null, null), (4, b'1', 18446744073709551615), (5, b'0', 49)")
	type row struct {
		N int
		B *bool
		W *uint64
	}
	yes, no := true, false
	number := func(n uint64) *uint64 { return &n }
	want := []row{{1, &no, number(0)}, {2, &yes, number(255)}, {3, nil, nil}, {4, &yes, number(1<<64 - 1)}, {5, &no, number(49)}}
	rows, bad := outcomes(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select * from b", Key: []string{"n"}, PageSize: 2}))
	require.Empty(t, bad)
	require.Equal(t, want, rows)
	rows, bad = outcomes(t, sqltable.Select[row](db, "select * from b order by n"))
	require.Empty(t, bad)
	require.Equal(t, want, rows)
	type narrow struct {
		N int
		B sql.NullBool
		W int8
	}
	few, bad := outcomes(t, sqltable.Select[narrow](db, "select n, b, w from b where n <> 3 order by n"))
	require.Len(t, bad, 2)
	require.Contains(t, bad[1], "255 does not fit int8")
	require.Equal(t, narrow{5, sql.NullBool{Valid: true}, 49}, few[3])
	type plain struct {
		N int
		W []byte
	}
	raw, bad := outcomes(t, sqltable.Select[plain](db, "select n, w from b where n < 4 order by n"))
	require.Empty(t, bad)
	require.Equal(t, []plain{{1, make([]byte, 8)}, {2, []byte{0, 0, 0, 0, 0, 0, 0, 255}}, {3, nil}}, raw)
}

// A streamed read lets the server wait for its reader, gives the connection back as it was, and says
// what it may have been if the connection is lost.
func TestSelect_Timeouts(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := opened(t, c)
	db.SetMaxOpenConns(2)
	execAll(t, db, "create table s (n int primary key, filler varchar(2000))")
	execAll(t, db, "insert into s select seq, repeat('x', 2000) from seq_1_to_30000")
	type row struct {
		N      int
		Filler string
	}
	timeout := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "select @@session.net_write_timeout").Scan(&n))
		return n
	}
	was := timeout()
	require.Less(t, was, 3600)
	type one struct{ Now int }
	rows, bad := outcomes(t, sqltable.Select[one](db, "select @@session.net_write_timeout as now"))
	require.Empty(t, bad)
	require.Equal(t, []one{{3600}}, rows)
	require.Equal(t, was, timeout())

	var lost error
	for it, err := range sqltable.Select[row](db, "select n, filler from s").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			lost = err
			break
		}
		if it.Value.N == 1 {
			var id int64
			require.NoError(t, db.QueryRowContext(t.Context(), "select id from information_schema.processlist where info like 'select n, filler from s%'").Scan(&id))
			_, err := db.ExecContext(t.Context(), "kill ?", id)
			require.NoError(t, err)
		}
	}
	require.ErrorContains(t, lost, "net_write_timeout")
	require.Equal(t, was, timeout())
}

// A read that ends early leaves the rest of its rows to the server.
func TestSelect_EndsEarly(t *testing.T) {
	t.Parallel()
	db := setup(t)
	type row struct{ Seq int64 }
	began := time.Now()
	for it, err := range sqltable.Select[row](db, "select seq from seq_1_to_1000000000").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		if it.Value.Seq == 3 {
			break
		}
	}
	require.Less(t, time.Since(began), time.Minute, "all rows take minutes")
	rows, _ := outcomes(t, sqltable.Select[row](db, "select seq from seq_1_to_3"))
	require.Len(t, rows, 3, "the pool goes on")
}
