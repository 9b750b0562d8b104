// Package pgtable reads and writes Postgres tables through pgx.
//
//	type Order struct {
//		ID        int64
//		Email     string `db:"customer_email"`
//		Cents     int64
//		PaidAt    *time.Time // NULL is nil
//		UpdatedAt time.Time
//	}
//
//	orders := pgtable.Keyset[Order](shop, pgtable.Query{
//		SQL: `select id, customer_email, cents, paid_at, updated_at from orders`,
//		Key: []string{"updated_at", "id"},
//	})
//	facts := pgtable.Upsert[OrderFact]("order_facts", "order_id")
//
// # Records
//
// T is a struct. A field's column is what its tag `db:"…"` says; "-" leaves the
// field out. A field without a tag is the column of its name in snake case:
// OrderID is order_id. The fields of an embedded struct count as fields of T. A
// field may have any type that pgx reads from, or writes to, its column.
//
// # Tables
//
// The name of a table is "table", which the search path leads to, or
// "schema.table". Case counts. A name that holds a dot stands in double quotes:
// `"schema"."my.table"`.
package pgtable
