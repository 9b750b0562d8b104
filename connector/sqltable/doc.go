// Package sqltable reads and writes tables of SQLite, MySQL and MariaDB through
// database/sql. It links no driver: the caller opens the *sql.DB. It is tested with
// modernc.org/sqlite, github.com/mattn/go-sqlite3 and github.com/ncruces/go-sqlite3, and
// with github.com/go-sql-driver/mysql and MariaDB.
//
//	type Order struct {
//		ID        int64
//		Email     string `db:"customer_email"`
//		Cents     int64
//		PaidAt    *time.Time // NULL is nil
//		UpdatedAt time.Time
//	}
//
//	orders := sqltable.Keyset[Order](shop, sqltable.Query{
//		SQL: `select id, customer_email, cents, paid_at, updated_at from orders`,
//		Key: []string{"updated_at", "id"},
//	})
//	facts := sqltable.Upsert[OrderFact]("order_facts", "order_id")
//
// [Keyset] resumes at any row; [Select] reads any statement from its beginning. [Insert]
// and [Upsert] write to the client's database, which must be SQLite. [InsertTo] and
// [UpsertTo] write to another database, whatever the client's is. The package asks a
// database whether it is SQLite or MySQL.
//
// # Records
//
// T is a struct. The tag `db:"…"` names a field's column; "-" leaves the field out. A
// field without a tag has the column of its name in snake case: OrderID is order_id. The
// fields of an embedded struct count as fields of T.
//
// A field may have any type that database/sql scans into, or accepts as a parameter:
// numbers, string, bool, []byte, time.Time, pointers to these, sql.Null types, and types
// with Scan and Value methods. A whole number that a float64 or a float32 cannot hold is a bad
// record.
//
// A column of SQLite that is declared as decimal, numeric or integer makes a float of a number that
// is written as a text. A number that would lose digits, or become infinity, is a bad record: declare
// the column as text. So is a whole number above 2^53 that a column declared as a float cannot
// hold. A column that is declared as string, uuid, guid, ulid, enum, json, jsonb, binary or bytea takes
// numbers too: there each text is a bad record that SQLite would change, such as 007, 12e5 or 1.10.
//
// # Times
//
// This section is about SQLite; for MySQL, see below. A time is written as text in UTC,
// always with the same length: "2024-01-31 09:30:00.000000000Z". So the texts sort like
// the times, SQLite's date functions understand them, and other programs with the same
// driver read them as times. The driver's settings for times do not change this. To store
// a time in another form, give the field a type with a Value method, or make it a string
// or a number.
//
// A time.Time field reads this form, every other form that SQLite's date functions and
// Go's drivers write, and a time made by the driver. A text without a zone is in UTC. A
// number is not read as a time, because its unit is unknown. A text that is no time is a
// bad record, also where the driver makes the year 1 of it.
//
// SQLite's drivers make times and bools of what a column holds that is declared as date,
// datetime, timestamp or boolean. [Keyset] reads a field that is a text, a number or bytes as
// the value is stored. In [Select], a number of such a column is a bad record, and a text
// is in the driver's form: select it as +column. A type with a Scan method gets what the driver returns.
//
// A key column of [Keyset] may hold times as texts, all in one spelling. Two spellings, such
// as "2024-01-31T09:30:00Z" and "2024-01-31 09:30:00", are not in the order of time, and rows
// would be skipped. Keyset ends with an error if it sees two, and looks for others in the day
// before its cursor. A Z sorts after a dot: with one, the number of digits must be the same.
//
// A key column that goes from texts to numbers, or from numbers to texts, ends the read with an error:
// its rows have another order than the cursor. Set the cursor anew with "dataflow cursor set".
//
// # Foreign keys and triggers
//
// SQLite checks a foreign key that is "deferrable initially deferred" at the commit. [Insert]
// and [Upsert] check it after each batch, so that a policy can leave out the bad record. The
// foreign keys of other tables, and those of your own statements, fail the commit. Then the batch is
// written again in parts, and after each part all foreign keys of the database are checked, which
// takes time if its tables are large. What a trigger refuses with raise(abort, …) is a bad record too.
//
// Triggers see each row that is written, and may change it. A row that a trigger of SQLite leaves out with
// raise(ignore), or a constraint that is declared with "on conflict ignore", is not there, but its record
// still counts as written, and a changed one as updated. Let a trigger use raise(abort, …) if a policy is to decide.
//
// A unique constraint that is declared with "on conflict replace" removes the row that is there, also
// in an upsert by another key. In a column "not null on conflict replace", NULL becomes the default.
// Neither is counted.
//
// # Tables
//
// The name of a table is "table" or "schema.table". The schema is an attached database
// in SQLite, and a database in MySQL. Put a name with a dot in double quotes, even in
// MySQL: `"main"."my.table"`.
//
// SQLite commits each file by itself in journal_mode WAL (sqlite.org/lang_attach.html). After a crash in
// that moment, an attached database may have the rows of [Insert] or [Upsert], and the client's no checkpoint,
// or the other way round. Open that file by itself for [InsertTo] or [UpsertTo], which keep the checkpoint beside
// the rows. With journal_mode OFF, SQLite promises no rollback at all: do not use it for a target, or for the client.
//
// # MySQL and MariaDB
//
// MySQL 8.0, MariaDB 10.3, or later. The tests run on MariaDB; on MySQL 8 and on Percona they
// have not been run yet. It can be read, and written to as a database other
// than the client's:
//
//	shop, err := sql.Open("mysql", "user:password@tcp(localhost:3306)/shop?parseTime=true&time_zone=%27%2B00%3A00%27")
//	orders := sqltable.Keyset[Order](shop, sqltable.Query{
//		SQL: "select id, customer_email, cents, paid_at, updated_at from orders",
//		Key: []string{"updated_at", "id"},
//	})
//	facts := sqltable.UpsertTo[OrderFact](shop, "order_facts", "order_id")
//
// The driver reads and writes times. To read one, it needs parseTime=true. A datetime has
// no zone; the driver uses the zone of the DSN's loc, UTC by default. A timestamp column
// is in the session's zone, so time_zone must equal loc. If it does not, or if a time
// arrives as text, the read fails. In a zone with summer time, a time of a timestamp column that
// the clock shows twice is a bad record: leave loc out, and set time_zone to +00:00. A time is cut to MySQL's microseconds; a column of
// type datetime(6) keeps them.
//
// The session's character set must be utf8mb4, which is the driver's default. In others, such as
// charset=utf8, the server sends question marks for some characters, so a read of texts fails.
//
// The driver waits for the answer of a server that has gone silent for as long as the network does,
// which may be for ever. With readTimeout=5m in the DSN it waits for five minutes, and the read or the
// write begins anew. Give more than the longest page takes.
//
// A key column of [Keyset] may be a number, text, bytes, date, datetime or timestamp.
// Text has the order of its collation. Keys that are equal by the collation, such as 'a'
// and 'A', end the read with an error, like two equal keys. So does a key that is longer than what the
// server sorts by: 256 characters or 1016 bytes, more with max_sort_length in the DSN. Other writers may commit rows
// in another order than that of their keys, even if MySQL assigns the keys. So exclude
// from the query the rows that are newer than the longest transaction. For a key of
// several columns, create an index on all of them.
//
// [InsertTo] and [UpsertTo] need InnoDB tables and a strict sql_mode, which is the
// default. Another engine is refused, but not that of a table behind a view. Without strict mode, MySQL would cut values that do not fit. A value that strict
// mode still changes is a bad record:
//
//   - a fraction in an integer column;
//   - a text with more digits after the point than a decimal has;
//   - blanks and line ends that a varchar cuts;
//   - a number as the text of an enum or a set, and a label in other letters than the column's;
//   - an integer that a float or a double cannot hold;
//   - a year of two digits, and a number as a time of day;
//   - a time as a text with a date, or more digits after the second, that the column does not keep;
//   - the zero time.Time, and NULL in a timestamp column that is not null.
//
// A float64 becomes the nearest decimal, and a text the nearest float or double. A date column
// keeps no time of day, a time column no date, and a time.Time loses the digits that its column does
// not have. A key of UpsertTo must not lose digits, because two keys would be one.
//
// The table of UpsertTo must have no second unique index in which two records may have equal
// values, because MySQL would replace the row that is there, whatever its key. Such an index is on
// written columns, on columns that are generated from these, or on columns with one default for
// all rows. It is refused; but what a trigger puts into a unique column is not seen.
//
// [CheckpointTableMySQL] is the table that they keep beside yours. If a process is stopped, not
// killed, while it writes, the worker that takes over waits until the server notices. That takes
// 10 s, the wait_timeout that a write sets. A commit and a rollback end at the latest 5 s after the
// run was stopped, also if the server is silent.
package sqltable
