// Package sqltable reads and writes SQLite tables through database/sql. It links
// no SQLite library: the *sql.DB is the caller's, with any driver for SQLite
// that database/sql has; modernc.org/sqlite is the one that it is tested with.
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
// and [Upsert] write to the client's database; [InsertTo] and [UpsertTo] to another one,
// whatever the client's is.
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
// A time is written as text in UTC, always as long: "2024-01-31 09:30:00.000000000Z".
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
// attached database. A name that holds a dot stands in double quotes:
// `"main"."my.table"`.
package sqltable
