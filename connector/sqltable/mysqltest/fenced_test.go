//go:build unix

package mysqltest

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type number struct{ N int64 }

// clientOf returns a client with one flow, in a database of either kind.
func clientOf(t *testing.T, driver dataflow.Driver, flow *dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	return client
}

// The client's database is SQLite or Postgres. The rows go from it to MySQL and
// back.
func TestFlow(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (driver dataflow.Driver, exec func(sql string) error, back dataflow.Target[number], count func() int){
		"SQLite": func(t *testing.T) (dataflow.Driver, func(sql string) error, dataflow.Target[number], func() int) {
			t.Helper()
			db := dbtest.SQLite(t)
			return dataflowsqlite.New(db), func(sql string) error { _, err := db.ExecContext(t.Context(), sql); return err },
				sqltable.Insert[number]("back"), func() (n int) {
					require.NoError(t, db.QueryRowContext(t.Context(), "select count(distinct n) + 1000 * count(*) from back").Scan(&n))
					return n
				}
		},
		"Postgres": func(t *testing.T) (dataflow.Driver, func(sql string) error, dataflow.Target[number], func() int) {
			t.Helper()
			pool := dbtest.Postgres(t)
			return dataflowpgx.New(pool), func(sql string) error { _, err := pool.Exec(t.Context(), sql); return err },
				pgtable.Insert[number]("back"), func() (n int) {
					require.NoError(t, pool.QueryRow(t.Context(), "select count(distinct n) + 1000 * count(*) from back").Scan(&n))
					return n
				}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			driver, exec, back, count := open(t)
			require.NoError(t, exec("create table back (n bigint)"))
			other := setup(t, "create table numbers (n bigint)")
			rows := make([]number, 100)
			for i := range rows {
				rows[i].N = int64(i + 1)
			}
			options := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}}
			client := clientOf(t, driver, dataflow.NewFlow("far", memory.Slice(rows), dataflow.Identity[number](), sqltable.InsertTo[number](other, "numbers"), options))
			requireAll := func() {
				t.Helper()
				var n, distinct int
				require.NoError(t, other.QueryRowContext(ctx, "select count(*), count(distinct n) from numbers").Scan(&n, &distinct))
				require.Equal(t, []int{100, 100}, []int{n, distinct})
			}
			for range 2 {
				_, err := client.Trigger(ctx, "far", nil)
				require.NoError(t, err)
				requireAll()
			}

			// As if the process had been killed between the sink's commit and the
			// client's: the client's checkpoint lacks the last batch.
			require.NoError(t, exec("update dataflow_checkpoint set cursor = '91'"))
			run, err := client.Trigger(ctx, "far", nil)
			require.NoError(t, err)
			require.JSONEq(t, "100", string(run.ToCursor))
			requireAll()

			source := sqltable.Keyset[number](other, sqltable.Query{SQL: "select n from numbers", Key: []string{"n"}, PageSize: 9})
			client = clientOf(t, driver, dataflow.NewFlow("back", source, dataflow.Identity[number](), back, options))
			for range 2 {
				_, err = client.Trigger(ctx, "back", nil)
				require.NoError(t, err)
				require.Equal(t, 100_100, count())
			}
			execAll(t, other, "insert into numbers values (101), (102)")
			run, err = client.Trigger(ctx, "back", nil)
			require.NoError(t, err)
			require.EqualValues(t, 2, run.Counters.Written)
			require.Equal(t, 102_102, count())
		})
	}
}

func batch[T any](fence int64, rows ...T) dataflow.FencedBatch[T] {
	return dataflow.FencedBatch[T]{Flow: "far", Fence: fence, State: []byte(`{"at": 1.0}`), Rows: rows}
}

// claimed returns a sink with a claim.
func claimed[T any](t *testing.T, target dataflow.Target[T]) dataflow.FencedSink[T] {
	t.Helper()
	s := fencedOf(target)
	_, err := s.Claim(t.Context(), "far", 1)
	require.NoError(t, err)
	return s
}

func texts(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var all []string
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		all = append(all, s)
	}
	require.NoError(t, rows.Err())
	return all
}

// stopped is a value whose Value method blocks until the test lets it continue.
type stopped struct{ asked, goOn chan struct{} }

// Value implements driver.Valuer.
func (s stopped) Value() (driver.Value, error) {
	s.asked <- struct{}{}
	<-s.goOn
	return int64(1), nil
}

// A process that is stopped during a write does not block the worker that takes
// over.
func TestInsertTo_Stopped(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	type row struct{ N stopped }
	c := config(t)
	db := opened(t, c)
	db.SetMaxOpenConns(1)
	execAll(t, db, "create table numbers (n bigint primary key)", "set session wait_timeout = 1234")
	old := claimed(t, sqltable.InsertTo[row](db, "numbers"))
	value, wrote := stopped{make(chan struct{}, 1), make(chan struct{})}, make(chan error, 1)
	go func() { wrote <- old.WriteFenced(ctx, batch(1, row{value})) }()
	<-value.asked // the write is in its transaction
	other := opened(t, c)
	_, err := fencedOf(sqltable.InsertTo[row](other, "numbers")).Claim(ctx, "far", 2)
	require.NoError(t, err, "which would wait for 50 seconds, and fail")
	close(value.goOn)
	err = <-wrote
	require.Error(t, err)
	require.True(t, marked(err), err)
	require.ErrorIs(t, old.WriteFenced(ctx, batch(1, row{value})), dataflow.ErrFenced)
	require.Empty(t, texts(t, other, "select n from numbers"))
	execAll(t, db, "set session wait_timeout = 1234")
	_, err = old.Claim(ctx, "far", 3)
	require.NoError(t, err)
	require.Equal(t, []string{"1234"}, texts(t, db, "select @@session.wait_timeout"), "the session is as it was")
}

// running waits until a statement runs, or waits for a lock. It returns the number
// of its connection.
func running(t *testing.T, db *sql.DB, statement string) (id int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return db.QueryRowContext(t.Context(), "select id from information_schema.processlist where db = database() and id <> connection_id() and command <> 'Sleep' and info like ?", statement).Scan(&id) == nil
	}, 2*time.Minute, 20*time.Millisecond)
	return id
}

// A claim during a write of an older claim waits for that write. The next write of
// the older claim sees the new one, whatever its snapshot.
func TestInsertTo_ClaimWhileWriting(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := config(t)
	db := opened(t, c)
	execAll(t, db, "create table numbers (n bigint primary key)")
	old := claimed(t, sqltable.InsertTo[number](db, "numbers"))
	// The older claim's write waits for this transaction, and holds the checkpoint meanwhile.
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "insert into numbers values (1)")
	require.NoError(t, err)
	wrote := make(chan error, 1)
	go func() { wrote <- old.WriteFenced(ctx, batch(1, number{1})) }()
	running(t, db, "insert into `numbers`%")
	claim, next := make(chan error, 1), fencedOf(sqltable.InsertTo[number](opened(t, c), "numbers"))
	go func() {
		_, err := next.Claim(ctx, "far", 2)
		claim <- err
	}()
	running(t, db, "insert into `dataflow_sink_checkpoint`%")
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-wrote)
	require.NoError(t, <-claim)
	require.ErrorIs(t, old.WriteFenced(ctx, batch(1, number{2})), dataflow.ErrFenced)
	require.ErrorIs(t, old.WriteFenced(ctx, batch[number](1)), dataflow.ErrFenced)
	require.Equal(t, []string{"1"}, texts(t, db, "select n from numbers"))
}

// all has a field of each type that a record may have.
type all struct {
	ID    uint64
	At    time.Time
	Stamp *time.Time
	Cents string
	Ratio float32
	Ok    bool
	Doc   json.RawMessage
	Raw   []byte
	Note  sql.Null[string]
	Tags  *int `db:"the tag's"`
}

const createAll = "create table `the all` (id bigint unsigned primary key, at datetime(6), stamp timestamp(6) null, cents decimal(30, 10), ratio float, ok boolean, doc json, raw varbinary(9), note varchar(9), `the tag's` int)"

func TestUpsertTo_Types(t *testing.T) {
	t.Parallel()
	c := config(t)
	interpolating := c.Clone()
	interpolating.InterpolateParams = true
	for i, db := range []*sql.DB{opened(t, c), opened(t, interpolating)} {
		execAll(t, db, "drop table if exists `the all`", createAll)
		at := time.Date(2024, 7, 1, 23, 59, 59, 999999999, time.FixedZone("", 3600))
		cut, tag := at.Truncate(time.Microsecond).UTC(), 7
		first := all{ID: math.MaxUint64, At: at, Stamp: &at, Cents: "12345678901234567890.0123456789", Ratio: 0.1, Ok: true, Doc: json.RawMessage(`{"a": "é"}`), Raw: []byte{0, 0xff, '\''}, Note: sql.Null[string]{V: "\\'é", Valid: true}, Tags: &tag}
		second := all{ID: 1, At: at, Cents: "0.0000000000", Doc: json.RawMessage(`1`)}
		s := claimed(t, sqltable.UpsertTo[all](db, "the all", "id"))
		changed := first
		changed.Cents = "0"
		require.NoError(t, s.WriteFenced(t.Context(), batch(1, changed, second, first)), "db %d", i)
		first.At, first.Stamp, second.At = cut, &cut, cut
		want := []all{second, first}
		require.Equal(t, want, values(readAll(t, sqltable.Keyset[all](db, sqltable.Query{SQL: "select * from `the all`", Key: []string{"id"}}))))
		var got []all
		for it, err := range sqltable.Select[all](db, "select * from `the all` order by id").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			require.NoError(t, err)
			got = append(got, it.Value)
		}
		require.Equal(t, want, got)
	}
}

// For a table of another database, the checkpoint is in that database too.
func TestUpsertTo_OtherDatabase(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := setup(t)
	execAll(t, db, "create table "+c.DBName+".`b.c` (n bigint primary key)", sqltable.CheckpointTableMySQL)
	s := claimed(t, sqltable.UpsertTo[number](db, c.DBName+`."b.c"`, "n"))
	require.NoError(t, s.WriteFenced(t.Context(), batch(1, number{1}, number{1})))
	require.NoError(t, s.WriteFenced(t.Context(), batch(1, number{1}, number{2})))
	require.Equal(t, []string{"1", "2"}, texts(t, db, "select n from "+c.DBName+".`b.c` order by n"))
	require.Equal(t, []string{`far 1 {"at": 1.0}`}, texts(t, db, "select concat_ws(' ', flow, fence, state) from "+c.DBName+".dataflow_sink_checkpoint"))
	require.Empty(t, texts(t, db, "select flow from dataflow_sink_checkpoint"))
}

// A batch may be larger than the server's packet limit; a row may not.
func TestInsertTo_Large(t *testing.T) {
	t.Parallel()
	type doc struct {
		ID   int64
		Text string
	}
	db := setup(t, "create table doc (id bigint primary key, text longtext)")
	s := claimed(t, sqltable.InsertTo[doc](db, "doc"))
	rows := make([]doc, 250)
	for i := range rows {
		rows[i] = doc{int64(i), strings.Repeat("x", 200_000)}
	}
	rows[100].Text = strings.Repeat("x", 5_000_000)
	require.NoError(t, s.WriteFenced(t.Context(), batch(1, rows...)), "50 MB, of which the server takes 16 at once")
	require.Equal(t, []string{"250 54800000"}, texts(t, db, "select concat(count(*), ' ', sum(length(text))) from doc"))

	var packet int
	require.NoError(t, db.QueryRowContext(t.Context(), "select @@max_allowed_packet").Scan(&packet))
	err := s.WriteFenced(t.Context(), batch(1, doc{1000, "a"}, doc{1001, strings.Repeat("x", packet)}))
	require.ErrorContains(t, err, "but the server's max_allowed_packet is "+strconv.Itoa(packet))
	var bad *dataflow.RecordError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, []string{"250"}, texts(t, db, "select count(*) from doc"), "nothing of a batch that fails is there")
}

// The policy decides about each record that the database refuses, and the others are written.
func TestTo_Policy(t *testing.T) {
	t.Parallel()
	type row struct {
		ID  int64
		Was string
		V   *string
	}
	text := func(s string) *string { return &s }
	others := "0"
	for i := 1; i < 100; i++ {
		if i != 7 {
			others += fmt.Sprint(", ", i)
		}
	}
	for name, test := range map[string]struct {
		column, good string
		bad          *string
		says         string
		more         []string // statements
	}{
		"UUID":      {"uuid", "7b7a3d6e-0000-8000-8100-000000000001", text("9f61408e-3afb-833e-80cd-f1b20de6f466"), "Incorrect uuid value", nil}, // which Postgres holds
		"Null":      {"int not null", "1", nil, "cannot be null", nil},
		"Range":     {"tinyint", "127", text("128"), "Out of range", nil},
		"Length":    {"varchar(3)", "abc", text("abcd"), "too long", nil},
		"Date":      {"date", "2024-02-29", text("2023-02-29"), "Incorrect date value", nil},
		"Charset":   {"varchar(9) character set latin1", "ü", text("日"), "Incorrect string value", nil},
		"Check":     {"int check (v > 0)", "1", text("-1"), "CONSTRAINT", nil},
		"JSON":      {"json", "{}", text("{"), "CONSTRAINT", nil},
		"Enum":      {"enum('a', 'b')", "a", text("c"), "Data truncated", nil},
		"Key":       {"int", "1", text("2"), "foreign key constraint fails", []string{"create table parent (id int primary key)", "insert into parent values (1)", "alter table t add foreign key (v) references parent (id)"}},
		"Partition": {"int", "1", text("2"), "no partition for value", []string{"alter table t partition by list (id mod 100) (partition p values in (" + others + "))"}},
		"Trigger":   {"int", "1", text("2"), "out of paper", []string{"create trigger odd before insert on t for each row if new.v = 2 then signal sqlstate '45000' set message_text = 'out of paper'; end if"}},
	} {
		for _, upsert := range []bool{false, true} {
			t.Run(fmt.Sprint(name, upsert), func(t *testing.T) {
				t.Parallel()
				db := setup(t, append([]string{"create table t (id bigint primary key, was text, v " + test.column + ")"}, test.more...)...)
				rows := make([]row, 300)
				for i := range rows {
					if rows[i] = (row{int64(i), "good", &test.good}); i%100 == 7 {
						rows[i] = row{int64(i), "bad", test.bad}
					}
				}
				target := sqltable.InsertTo[row](db, "t")
				if upsert {
					target = sqltable.UpsertTo[row](db, "t", "id")
				}
				client := clientOf(t, dataflowsqlite.New(dbtest.SQLite(t)), dataflow.NewFlow("f", memory.Slice(rows), dataflow.Identity[row](), target,
					&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(3), Runtime: dataflow.Heartbeat{BatchSize: 250}}))
				run, err := client.Trigger(t.Context(), "f", nil)
				require.NoError(t, err)
				require.Equal(t, dataflow.Counters{Read: 300, Written: 297, DeadLettered: 3}, run.Counters)
				letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{})
				require.NoError(t, err)
				require.Len(t, letters, 3)
				require.Contains(t, letters[0].Error, test.says)
				require.Equal(t, []string{"297 good"}, texts(t, db, "select concat(count(*), ' ', was) from t group by was"))
			})
		}
	}
}

// Without a policy the run fails, names the record, and writes nothing of its batch.
func TestTo_NoPolicy(t *testing.T) {
	t.Parallel()
	db := setup(t, "create table t (n bigint primary key check (n <> 2))")
	client := clientOf(t, dataflowsqlite.New(dbtest.SQLite(t)), dataflow.NewFlow("f", memory.Slice([]number{{1}, {2}, {3}}), dataflow.Identity[number](), sqltable.InsertTo[number](db, "t"), &dataflow.FlowOptions{MaxAttempts: 1}))
	_, err := client.Trigger(t.Context(), "f", nil)
	require.ErrorContains(t, err, "write record row 2")
	require.Empty(t, texts(t, db, "select n from t"))
}

func TestTo_Refused(t *testing.T) {
	t.Parallel()
	type person struct {
		ID    *int64
		Email string
	}
	target := func(db *sql.DB) dataflow.Target[person] { return sqltable.UpsertTo[person](db, "person", "id") }
	for name, tc := range map[string]struct {
		create string
		target func(db *sql.DB) dataflow.Target[person]
		want   string
	}{
		"NoTable":     {"select 1", target, "table person: the table does not exist in this database"},
		"NoColumn":    {"create table person (id bigint primary key, mail text)", target, `the table has no column "email" (field Email); its columns are "id", "mail"`},
		"NoIndex":     {"create table person (id bigint, email varchar(9), unique index (id, email), index (id))", target, "the table has no unique index of exactly the key columns (`id`)"},
		"Prefix":      {"create table person (id bigint, email varchar(9), unique index (email(3)))", func(db *sql.DB) dataflow.Target[person] { return sqltable.UpsertTo[person](db, "person", "email") }, "the table has no unique index of exactly the key columns (`email`)"},
		"OtherUnique": {"create table person (id bigint primary key, email varchar(9), unique index `by mail` (email))", target, "the table has another unique index, `by mail`"},
		"Engine":      {"create table person (id bigint primary key, email varchar(9)) engine = MyISAM", target, "the table's engine MyISAM has no transactions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, tc.create)
			id := int64(1)
			err := claimed(t, tc.target(db)).WriteFenced(t.Context(), batch(1, person{&id, "a"}))
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, name == "OtherUnique" || name == "Engine", dataflow.IsPermanent(err), "a migration may yet add the others")
		})
	}
	t.Run("NullKey", func(t *testing.T) {
		t.Parallel()
		db := setup(t, "create table person (id bigint unique, email varchar(9), extra int auto_increment primary key, unique index (id, email))")
		id := int64(1)
		err := claimed(t, target(db)).WriteFenced(t.Context(), batch(1, person{&id, "a"}, person{nil, "a"}))
		require.ErrorContains(t, err, `row 2 of the batch: column "id" (field ID): a key must not be NULL`)
		require.Empty(t, texts(t, db, "select id from person"))
	})
	t.Run("NotStrict", func(t *testing.T) {
		t.Parallel()
		c := config(t)
		c.Params["sql_mode"] = "'NO_ENGINE_SUBSTITUTION'"
		_, err := fencedOf(target(opened(t, c))).Claim(t.Context(), "far", 1)
		require.ErrorContains(t, err, `the session's sql_mode is "NO_ENGINE_SUBSTITUTION", in which MySQL silently cuts values`)
		require.True(t, dataflow.IsPermanent(err))
	})
	t.Run("Cut", func(t *testing.T) {
		t.Parallel()
		db := setup(t, "create table person (id bigint primary key, email varchar(3))")
		id := int64(1)
		err := claimed(t, target(db)).WriteFenced(t.Context(), batch(1, person{&id, "abcd"}))
		require.ErrorContains(t, err, "Data too long for column 'email'")
		require.False(t, marked(err))
	})
	t.Run("CheckpointEngine", func(t *testing.T) {
		t.Parallel()
		db := setup(t, strings.NewReplacer("InnoDB", "MyISAM", "500", "100").Replace(sqltable.CheckpointTableMySQL))
		_, err := fencedOf(target(db)).Claim(t.Context(), "far", 1)
		require.ErrorContains(t, err, "has an engine without transactions (MyISAM)")
		require.True(t, dataflow.IsPermanent(err))
	})
}

// marked reports whether an error, or one that it wraps, is marked as transient.
// Only the engine has another way to ask.
func marked(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if fmt.Sprintf("%T", err) == fmt.Sprintf("%T", dataflow.Transient(err)) && !dataflow.IsPermanent(err) {
			return true
		}
	}
	return false
}

// These errors of a write are transient: another transaction's lock, a deadlock,
// and a broken connection.
func TestTo_Passes(t *testing.T) {
	t.Parallel()
	t.Run("LockWait", func(t *testing.T) {
		t.Parallel()
		c := config(t)
		c.Params["innodb_lock_wait_timeout"] = "1"
		db := opened(t, c)
		execAll(t, db, "create table numbers (n bigint primary key)")
		s := claimed(t, sqltable.InsertTo[number](db, "numbers"))
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "insert into numbers values (1)")
		require.NoError(t, err)
		err = s.WriteFenced(t.Context(), batch(1, number{1}))
		require.ErrorContains(t, err, "Error 1205")
		require.True(t, marked(err), err)
		require.NoError(t, tx.Rollback())
		require.NoError(t, s.WriteFenced(t.Context(), batch(1, number{1})))
	})
	t.Run("Killed", func(t *testing.T) {
		t.Parallel()
		db := setup(t, "create table numbers (n bigint primary key)")
		s := claimed(t, sqltable.InsertTo[number](db, "numbers"))
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "insert into numbers values (1)")
		require.NoError(t, err)
		wrote := make(chan error, 1)
		go func() { wrote <- s.WriteFenced(t.Context(), batch(1, number{1})) }()
		execAll(t, db, "kill "+strconv.Itoa(running(t, db, "insert into `numbers`%")))
		err = <-wrote
		require.Error(t, err)
		require.True(t, marked(err), err)
		require.NoError(t, tx.Rollback())
		require.NoError(t, s.WriteFenced(t.Context(), batch(1, number{1})))
	})
	t.Run("NoServer", func(t *testing.T) {
		t.Parallel()
		c := config(t)
		c.Net, c.Addr = "unix", t.TempDir()+"/none"
		db := opened(t, c)
		_, err := fencedOf(sqltable.InsertTo[number](db, "numbers")).Claim(t.Context(), "far", 1)
		require.ErrorContains(t, err, "connect: no such file")
		require.True(t, marked(err), err)
		_, err = read(t, sqltable.Keyset[number](db, sqltable.Query{SQL: "select 1 as n", Key: []string{"n"}}), nil)
		require.ErrorContains(t, err, "connect: no such file")
		require.True(t, marked(err), err)
	})
}

// A key of 0 is a value like others, also where the column has auto_increment. The session is as it was afterwards.
func TestUpsertTo_KeyZero(t *testing.T) {
	t.Parallel()
	type row struct{ ID, N int }
	db := setup(t, "create table zero (id int primary key auto_increment, n int)")
	db.SetMaxOpenConns(1)
	mode := texts(t, db, "select @@session.sql_mode")
	s := claimed(t, sqltable.UpsertTo[row](db, "zero", "id"))
	for n := range 2 {
		require.NoError(t, s.WriteFenced(t.Context(), batch(1, row{0, n}, row{1, 7})))
	}
	require.Equal(t, []string{"0 1", "1 7"}, texts(t, db, "select concat(id, ' ', n) from zero order by id"))
	require.Equal(t, mode, texts(t, db, "select @@session.sql_mode"))
}

// MariaDB adds a column to the unique indexes of a table that keeps the history of its rows.
func TestUpsertTo_Versioned(t *testing.T) {
	t.Parallel()
	type row struct{ ID, N int }
	db := setup(t)
	var version string
	require.NoError(t, db.QueryRowContext(t.Context(), "select version()").Scan(&version))
	if !strings.Contains(version, "MariaDB") {
		t.Skip("only MariaDB keeps the history of rows")
	}
	execAll(t, db, "create table `implicit` (id int primary key, n int) with system versioning",
		"create table `explicit` (id int primary key, n int, s timestamp(6) generated always as row start, e timestamp(6) generated always as row end invisible, period for system_time (s, e)) with system versioning")
	for _, table := range []string{"implicit", "explicit"} {
		s := claimed(t, sqltable.UpsertTo[row](db, table, "id"))
		for n := range 3 {
			require.NoError(t, s.WriteFenced(t.Context(), batch(1, row{1, n}, row{2, 7})), table)
		}
		require.Equal(t, []string{"1 2", "2 7"}, texts(t, db, "select concat(id, ' ', n) from `"+table+"` order by id"))
		require.NotEqual(t, []string{"2"}, texts(t, db, "select count(*) from `"+table+"` for system_time all"))
	}
	execAll(t, db, "create table `second` (id int primary key, n int unique, s timestamp(6) generated always as row start, e timestamp(6) generated always as row end, period for system_time (s, e)) with system versioning")
	s := claimed(t, sqltable.UpsertTo[row](db, "second", "id"))
	require.ErrorContains(t, s.WriteFenced(t.Context(), batch(1, row{1, 1})), "the table has another unique index, `n`")
}

// silent is a connection to a server that says nothing any more from a statement on.
type silent struct {
	net.Conn
	from   string
	since  chan struct{} // closed from then on
	closed chan struct{}
	begin  sync.Once
	end    sync.Once
}

func (s *silent) Write(b []byte) (int, error) {
	if bytes.Contains(bytes.ToLower(b), []byte(s.from)) {
		s.begin.Do(func() { close(s.since) })
	}
	select {
	case <-s.since:
		return len(b), nil
	default:
		return s.Conn.Write(b)
	}
}

func (s *silent) Read(b []byte) (int, error) {
	select {
	case <-s.since:
		<-s.closed
		return 0, net.ErrClosed
	default:
		return s.Conn.Read(b)
	}
}

func (s *silent) Close() error {
	s.end.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// A run that is stopped does not wait for a server that went silent at its commit or its rollback.
func TestInsertTo_SilentServer(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{"commit": "commit", "rollback": "rollback", "after": "session wait_timeout = @"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			db := opened(t, c)
			execAll(t, db, "create table numbers (n bigint primary key)")
			claimed(t, sqltable.InsertTo[number](db, "numbers"))
			since, quiet := make(chan struct{}), c.Clone()
			quiet.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &silent{Conn: conn, from: from, since: since, closed: make(chan struct{})}, err
			}
			connector, err := mysql.NewConnector(quiet)
			require.NoError(t, err)
			far := sql.OpenDB(connector)
			t.Cleanup(func() { _ = far.Close() })
			far.SetMaxOpenConns(1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			rows := []number{{1}}
			if name == "rollback" {
				rows = append(rows, number{1}) // which is refused
			}
			wrote := make(chan error, 1)
			go func() {
				wrote <- fencedOf(sqltable.InsertTo[number](far, "numbers")).WriteFenced(ctx, batch(1, rows...))
			}()
			<-since
			cancel()
			select {
			case err := <-wrote:
				if name != "after" {
					require.Error(t, err)
				}
			case <-time.After(time.Minute):
				require.Fail(t, "the write waits for the silent server")
			}
		})
	}
}

// MariaDB checks a foreign key row by row, as docs/errors.md says: a row comes after the one that it refers to.
func TestUpsertTo_LaterRow(t *testing.T) {
	t.Parallel()
	type node struct {
		ID     int64
		Parent *int64
	}
	two := int64(2)
	db := setup(t, "create table nodes (id int primary key, parent int, foreign key (parent) references nodes (id))")
	s := claimed(t, sqltable.UpsertTo[node](db, "nodes", "id"))
	require.ErrorContains(t, s.WriteFenced(t.Context(), batch(1, node{1, &two}, node{2, nil})), "Error 1452")
	require.NoError(t, s.WriteFenced(t.Context(), batch(1, node{2, nil}, node{1, &two})))
}
