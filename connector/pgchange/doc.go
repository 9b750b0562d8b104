// Package pgchange follows the changes of Postgres tables from the server's log, by logical
// replication: inserts, updates, deletes and truncates, in the order of their commits.
//
//	orders := pgchange.Stream[Order](shop, pgchange.Options{
//		Publication: "shop",        // create publication shop for table orders
//		Slot:        "orders_copy", // the first run creates it
//	})
//	flow := dataflow.NewFlow("orders", orders, dataflow.Identity[pgtable.Change[Order]](),
//		pgtable.Apply[Order]("orders", "id"), nil)
//
// docs/change-capture.md shows how to set up the server, and what a slot costs it.
//
// # Order and resume points
//
// [Stream] yields whole transactions, one after the other. The end of each is a resume point,
// and so is every 10,000th change or 8 MiB of a larger one. The slot's position moves only after
// the checkpoint is committed. So what is not committed comes again, and what is committed never
// does. With pgtable.Apply, each change is applied exactly once.
//
// # First load
//
// Unless [Options].OnlyChanges is set, the stream first yields the rows that are there, as
// inserts with Loading set. It reads them in chunks, in the order of the primary key, and follows
// the log meanwhile. It takes no lock, and goes on after a kill where it was. A row never comes
// after a newer change of it.
//
// # Values
//
// Values are decoded by the rules of package pgtable, from the text that Postgres sends. A value
// that does not fit its field is a RecordError, about which the flow's policy decides. Types that
// pgx does not know, such as enums, are text. A domain is its base type.
//
// # What is refused
//
// These are permanent errors that say what to do: no publication, a table that is not part of it
// or has no replica identity, a field without a published column, a wal_level other than logical,
// and a slot that has lost changes. Nothing is skipped silently.
package pgchange
