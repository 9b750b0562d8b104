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
// [Keyset] resumes at any row; [Select] reads any statement from its beginning.
// [Insert] and [Upsert] write records as they are; [Func] and [Batch] write with
// statements of the caller's own. All four have a form for another database than the
// client's, of the name that ends in To. [Replace] replaces all rows of a table in each
// run, at once: what Select has read, for one.
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
//
// What is written is written as by an insert statement: privileges and the policies of
// row security are those of the role that writes, and a row that a policy forbids fails
// the run. Triggers see each row, and may change it or leave it out; a record counts as
// written all the same. An upsert needs the right to select and to update too. Generated
// columns must have no field in the records that are written.
//
// # Rows that are committed late
//
// A row gets its key while a transaction is under way, and is seen when that
// commits. If a transaction takes its time or its id at 10:00:00 and commits at
// 10:00:05, and a read at 10:00:04 has passed a row of 10:00:03, then no later
// read behind the cursor finds the first one. In a test with 12 writers, which
// kept some of their transactions open for up to 3 s, a flow that ran every 100
// to 500 ms missed 10 % of the rows with a time as key, and 6 % with an id.
//
// A [Guard] in [Query.LateCommits] prevents that. It asks the database, before
// the first page, how far it is safe to read. The read ends there, and the next
// one goes on from there. In the same test no guard missed a row or read one
// twice.
//
//   - nil, the default, is [OpenTransactions] for a key that begins with a
//     timestamp, and [Unguarded] for any other.
//   - [OpenTransactions] reads up to the start of the oldest open transaction of
//     the database. The key is a time from now() or clock_timestamp(). Right for
//     transactions of any length. Permission: pg_read_all_stats, unless all
//     transactions are of the reading role. Not on a standby. What holds rows
//     back: any open transaction, also one that only reads, such as pg_dump's;
//     and any prepared one, which holds all rows back, because its start is
//     recorded nowhere.
//   - [Lag] reads up to a fixed time before now. The key is a time from any
//     clock. Right for transactions that are shorter; no error tells that one
//     was not. Permission: none. On a standby too. What holds rows back: the
//     lag, always.
//   - [XID8] reads up to the oldest transaction that is open and has written. The
//     key is a column of type xid8, with the id behind it. Right for transactions
//     of any length. Permission: none, but the column and an index. On a standby
//     too. What holds rows back: open or prepared transactions that have
//     written, in any database of the server.
//   - [Unguarded] reads all that is visible. Right for tables that nobody writes
//     to meanwhile, and for a single writer.
//
// Which one? The default, if it gives no error. For a table without updated_at, a
// key of created_at and id; or XID8, which also is better where reports run for
// hours. Lag for times from the application's clock, and where there can be
// neither permission nor column.
//
// The default does not protect keys that are an id or a date, nor times that do
// not come from the transaction's own clock: from the application, from another
// table, by logical replication. For those use Lag, or OpenTransactions with a
// Grace. A time in the future is left until it has come.
//
// With each guard, a row that is changed is read again if the change makes its
// key greater. Of several changes between two reads only the last is seen, and
// each that is seen is seen once. This needs updated_at = now() in each update,
// or, with XID8, txid = pg_current_xact_id(). Deleted rows are not noticed.
//
// To see what holds OpenTransactions back:
//
//	select pid, usename, application_name, state, xact_start from pg_stat_activity
//	where datname = current_database() order by xact_start
package pgtable
