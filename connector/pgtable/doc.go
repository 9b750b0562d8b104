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
// [Insert] and [Upsert] write records as they are; [Func] and [Batch] write with the
// caller's own statements. Each of these four has a form whose name ends in To, for a
// database other than the client's. [Write] has options for them. [Replace] replaces all rows of a table at the end of
// each run, for example with the rows of a Select.
//
// # Records
//
// T is a struct. The tag `db:"…"` names a field's column; "-" leaves the field out. A
// field without a tag has the column of its name in snake case: OrderID is order_id. The
// fields of an embedded struct count as fields of T. A field may have any type that pgx
// reads from, or writes to, its column.
//
// # Values
//
// What is read is what Postgres holds, and what is written is what the record holds; or
// a RecordError names the column and a Go type that would do. pgx 5.12 changes some
// values without an error (see its package pgtype). pgtable treats these as follows:
//
//   - A JSON null is the text null in a string, []byte, json.RawMessage, a pointer to
//     one of these, or a type with its own Scan. A type with its own UnmarshalJSON
//     decides itself. Elsewhere it would be the same as NULL or an empty value, and is a
//     RecordError. Use json.RawMessage.
//   - A number of a JSON column that is read into an interface, such as the values of a
//     map[string]any, is a json.Number with all its digits, never a float64.
//   - A JSON string that is itself JSON, such as "5", is a RecordError in a field of type
//     any. Written from there to a JSON column, it would be the number 5.
//   - An array needs a slice with as many dimensions as it has. One that does not begin
//     at index 1 needs pgtype.Array. In a field of type any, an array must have one
//     dimension. Slices of slices that are written must all have one length.
//   - An interval with months needs pgtype.Interval: a month has no fixed length. In a
//     time.Duration a day is 24 hours. Postgres holds microseconds: what a time.Duration
//     or a time.Time has below one is dropped when it is written.
//   - A float64 is written to an integer column if it is a whole number, such as 2.0. The
//     number 2.5 is a RecordError. So is a whole number that would lose digits in a
//     floating-point type, of Postgres or of Go: above 2^53 in double precision and
//     float64, above 2^24 in real and float32.
//   - A number that would become infinite or zero in real or float32, such as 1e300, is a
//     RecordError. Otherwise a float64 becomes the nearest real or float32, and a numeric
//     the nearest float64. Use pgtype.Numeric or string for all digits of a numeric.
//   - A text that is longer than the types "char" and name hold is a RecordError. So is one that
//     is too long for a varchar by blanks at its end, which Postgres would cut. It does cut them
//     in the parts of a composite type, and in an array that is written as one text.
//   - A value that a Go type of pgx or of the standard library would write back as another
//     one is a RecordError: a text in pgtype.Bits, an open path in pgtype.Polygon. Types of
//     your own are trusted.
//   - A Go type of numbers holds a number without the zeros at its end. JSON in such a type, or in
//     a slice of them, must be the same number. A struct of your own takes from JSON what it
//     has fields for.
//   - Money and types that pgx does not know, such as composite types, are read as text. A
//     read refuses them, by name, in a session with settings that change this text: DateStyle,
//     IntervalStyle, extra_float_digits, bytea_output, lc_monetary. Read v::numeric, or the
//     parts.
//   - These rules hold for each part of a composite type too that the pool registers with pgx, and
//     that is read into a struct.
//   - A numeric column with a scale, such as numeric(5,2), rounds what is written, as in
//     each insert statement. So does a column of times with fewer digits, such as timestamp(0).
//     An interval year to month drops the days.
//   - Texts of Go are UTF-8. In a database of another encoding, the pool's connection string needs
//     client_encoding=UTF8.
//
// An empty text is written as such, never as NULL. NULL is written for a nil pointer, a
// nil slice, and a value that says that it is not valid.
//
// # Keys
//
// A cursor keeps the types of the key columns beside their values. A change of type
// that keeps the order needs nothing: int to bigint or numeric, real to double precision,
// varchar to text, date to timestamp, a greater precision. After a change from text or
// varchar to citext, the first read looks through all rows, and goes on if none has moved
// across the cursor. Any other change of a type or a collation is a permanent error that
// names the column and both types. Set the cursor anew with "dataflow cursor set".
//
// A time zone decides about four changes: from a date or a timestamp to a timestamptz, from a
// timestamptz to a timestamp, and from a time to a timetz. Postgres does not store in which zone
// it converted the values. So the zone of the session, those of the database and its roles, and
// UTC are tried. The cursor keeps its place if one of these puts its row where one is now. The
// cursor of a timestamp also needs another key column that only its row has, and a day without
// a change of the offset before and after. Otherwise it is refused. Infinity stays where
// it is. Labels of an enum may be added or renamed after the cursor's.
//
// A cursor that a person sets needs no types. Its times must be the same in every
// session: one without a zone is refused for a column with time zone.
//
// Values that Postgres takes for equal are one key, whatever their texts: "a" and "A" by a
// nondeterministic collation or in citext, 1 and 1.0 in numeric. An upsert takes for equal what the
// unique index of its key does, which may have another collation. In a Keyset, two rows with one key are
// an error. A key that cannot be compared with a cursor, such as json or hstore, is
// refused before the first row. So is an array, a range or a composite type with times or
// floating-point numbers in a session whose settings change their text.
//
// The server of a foreign table may sort texts in another order than this one. If a query with one has a
// text in its key, this server compares and sorts, and each page reads all rows of the query. A key of
// times and numbers is quicker. [dataflow.Client.Why] notes it.
//
// A key of a date and a random uuid loses rows, and is refused unless Query.LateCommits is
// set. The log and Client.Why note a key without a unique index, one that begins with a
// date or a uuid, rows of infinity, pages that sort the table, and what holds rows back.
//
// # Tables
//
// The name of a table is "table", found by the search path, or "schema.table". Case
// counts. Put a name with a dot in double quotes: `"schema"."my.table"`.
//
// Rows are written as by an insert statement, with the privileges and row security
// policies of the writing role. A row that a policy forbids fails the run. Triggers see
// each row, and may change or skip it; its record still counts as written. An upsert
// also needs the privileges to select and to update. T must have no field for a
// generated column.
//
// A constraint that is deferrable and initially deferred is checked after each batch, or
// part of a batch, that [Insert] and [Upsert] write, and not only by the commit. So its
// error is one of the rows, about which the flow's policy decides. With [Func] and [Batch],
// and for constraints of other tables, the commit fails; then the batch is written again
// in parts, each of which is checked by "set constraints all immediate". In a batch with a
// bad row, rows that refer to each other may be in different parts; then they count as bad
// too. [dataflow.RetryBadFor] writes them at the end of the run.
//
// A unique value that one row of a batch hands over to another is written in the order of
// the source. Two rows that exchange their values need a deferrable constraint; otherwise
// the error names both.
//
// docs/postgres-errors.md says what a flow does about each error of the server.
//
// An upsert spends numbers of a sequence on new rows only, except where large batches of new
// rows are copied; [Table].SpareSequences makes it do so everywhere. A field with an identity column that is
// "generated always" needs [Table].OverridingSystemValue. COPY alone would write such a
// column without it, but pgtable refuses that too.
//
// # Rows that are committed late
//
// A row gets its key during a transaction, but becomes visible only when the transaction
// commits. Suppose a transaction takes its time or its id at 10:00:00 and commits at
// 10:00:05. A read at 10:00:04 passes a row of 10:00:03. Then no later read, which
// starts after the cursor, finds the first row.
//
// In a test, 12 writers kept some of their transactions open for up to 3 s. A flow that
// ran every 100 to 500 ms missed 10 % of the rows with a time as key, and 6 % with an
// id.
//
// A [Guard] in [Query.LateCommits] prevents that. Before the first page it asks the
// database how far it is safe to read. The read ends there, and the next one continues
// from there. In the same test no guard missed a row or read one twice.
//
//   - nil, the default, is [OpenTransactions] for a key that begins with a
//     timestamp, and [Unguarded] for any other.
//   - [OpenTransactions] reads up to the start of the oldest open transaction of the
//     database. The key is a time from now() or clock_timestamp(). It suits transactions
//     of any length. Permission: pg_read_all_stats, unless all transactions belong to
//     the reading role. It does not work on a standby. Rows are held back by any open
//     transaction, even one that only reads, such as pg_dump's. A prepared transaction
//     holds all rows back, because its start is recorded nowhere.
//   - [Lag] reads up to a fixed time before now. The key is a time from any clock. It
//     suits transactions shorter than that time; a longer one causes no error.
//     Permission: none. It works on a standby. Rows are always held back by the lag.
//   - [XID8] reads up to the oldest open transaction that has written. The key is a
//     column of type xid8, followed by the id. It suits transactions of any length.
//     Permission: none, but it needs the column and an index. It works on a standby.
//     Rows are held back by open or prepared transactions that have written, in any
//     database of the server. Those that have locked rows, or filled a temporary table, have
//     written too.
//   - [Unguarded] reads everything visible. It suits tables without writes during the
//     read, and tables with a single writer.
//
// A guard's answer holds for the server that gave it. If a proxy or an address of several hosts
// sends a page to another server, the page is empty, so that no row is missed, and a note says so.
//
// Which guard to choose:
//
//   - the default, if it gives no error;
//   - for a table without updated_at, the default with a key of created_at and id, or
//     XID8;
//   - XID8 also where reports run for hours;
//   - Lag for times from the application's clock, and where neither the permission nor
//     the column is possible.
//
// The default protects neither a key that begins with an id or a date, nor times from
// another clock than the transaction's: from the application, from another table, or by
// logical replication. For those use Lag, or OpenTransactions with a Grace. A row with a
// time in the future is read once that time has come.
//
// The rows of a foreign table are committed on another server, whose transactions no guard
// of this one sees. There the default is an error, and Lag is safe.
//
// The rows of a materialized view come when it is refreshed. A row that was committed late, after a
// refresh, comes with the next one, and no guard sees any more that it was late. There the default
// and XID8 are errors. Lag is safe if it is longer than the time between two refreshes and the
// longest transaction together.
//
// With each guard, a changed row is read again if the change makes its key greater. Of
// several changes between two reads, only the last is read, and it is read once. This
// needs updated_at = now() in each update or, with XID8, txid = pg_current_xact_id().
// Deleted rows are not noticed.
//
// This query shows what holds OpenTransactions back:
//
//	select pid, usename, application_name, state, xact_start from pg_stat_activity
//	where datname = current_database() order by xact_start
package pgtable
