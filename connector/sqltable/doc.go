// Package sqltable reads and writes tables of SQLite, MySQL and MariaDB through
// database/sql. It links no driver: the *sql.DB is the caller's. Those that it is
// tested with are modernc.org/sqlite, and github.com/go-sql-driver/mysql with MariaDB.
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
// and [Upsert] write to the client's database, which is a SQLite; [InsertTo] and
// [UpsertTo] to another one, whatever the client's is. Which kind of database a *sql.DB
// leads to is asked of itself.
//
// # Records
//
// T is a struct. A field's column is what its tag `db:"…"` says; "-" leaves the
// field out. A field without a tag is the column of its name in snake case:
// OrderID is order_id. The fields of an embedded struct count as fields of T. A
// field may have any type that database/sql scans into, or takes as a parameter:
// numbers, string, bool, []byte, time.Time, pointers to these, sql.Null types,
// and types with Scan and Value methods.
//
// # Times
//
// This is of SQLite; of MySQL, see below. A time is written as text in UTC, always as long: "2024-01-31 09:30:00.000000000Z".
// So the order of the texts is the order of the times, SQLite's own date
// functions understand it, and other programs with the same driver read it as a
// time. The driver's settings for times do not change this. To store a time in
// another form, give the field a type with a Value method, or make it a string
// or a number.
//
// A time.Time field reads this form, every other form in which SQLite's date
// functions and Go's drivers write a time, and what the driver itself has made a
// time of. A text without a zone is in UTC. A number is not read as a time,
// because it does not say its unit.
//
// # Tables
//
// The name of a table is "table" or "schema.table", where the schema is an
// attached database, or the database in MySQL. A name that holds a dot stands in double
// quotes, in MySQL too: `"main"."my.table"`.
//
// # MySQL and MariaDB
//
// MySQL 8.0, MariaDB 10.3, or later. It is read, and written to as another database than
// the client's:
//
//	shop, err := sql.Open("mysql", "user:password@tcp(localhost:3306)/shop?parseTime=true&time_zone=%27%2B00%3A00%27")
//	orders := sqltable.Keyset[Order](shop, sqltable.Query{
//		SQL: "select id, customer_email, cents, paid_at, updated_at from orders",
//		Key: []string{"updated_at", "id"},
//	})
//	facts := sqltable.UpsertTo[OrderFact](shop, "order_facts", "order_id")
//
// A time is what the driver makes of it. parseTime=true is needed to read one. A datetime
// has no zone and so is in that of the DSN's loc, which is UTC unless it says otherwise;
// columns of type timestamp are in the session's, so that time_zone must agree with loc.
// Where it does not, or a time comes as text, that is an error. A time is cut to the
// microseconds that MySQL has; a column keeps them as datetime(6).
//
// A key column of [Keyset] may be of any type of numbers, text, bytes, date, datetime or
// timestamp. Text has the order of its collation: two rows whose keys that takes for
// equal, such as 'a' and 'A', end the read as two of the same key do. Rows of other writers
// may be committed in another order than that of their keys, even if the keys are
// numbers that MySQL gives out: leave out of the query what is newer than the longest
// transaction. Of a key of several columns, an index on all of them serves.
//
// [InsertTo] and [UpsertTo] need tables of InnoDB, and a session whose sql_mode is strict,
// as it is by default; without it, MySQL would cut values that do not fit. The table of
// UpsertTo must have no second unique index on columns that are written, because MySQL
// would replace a row that has the same there. See [CheckpointTableMySQL]. A process that
// is stopped while it writes, rather than killed, keeps its successor waiting until the
// server notices, as long as its wait_timeout.
package sqltable
