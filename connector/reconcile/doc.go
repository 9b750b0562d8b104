// Package reconcile finds the rows of a target that are gone from the source, and deletes or
// marks them. It compares keys, so the source needs neither a log nor triggers.
//
//	gone := reconcile.New(
//		pgtable.Keys(shop, reconcile.Table{Name: "orders", Key: []string{"id"}}),
//		pgtable.Keys(facts, reconcile.Table{Name: "order_facts", Key: []string{"order_id"}}),
//		nil)
//	flow := dataflow.NewFlow("orders_gone", gone, dataflow.Identity[reconcile.Difference](), gone.Delete(), nil)
//
// Each side may be Postgres (pgtable.Keys), SQLite, MySQL or MariaDB (sqltable.Keys). Instead of
// Delete, [Comparison.Mark] sets a time, and any other target of the flow gets the differences
// as a report.
//
// # How it compares
//
// Tables of up to 16 million rows are first compared as a whole, if both are in Postgres, MySQL or
// MariaDB, unless they differed the last time: by their number of keys and a sum of 64-bit
// hashes, which each database computes. If they are alike, that is all.
//
// Otherwise a first pass compares ranges of up to a million keys likewise. It cuts a range that
// differs into 16 parts, again and again, and reads keys only of parts of up to 1,000. A range
// that is alike costs three statements. The first pass only counts. If more than
// [Options].MaxGone are gone, the run fails with the numbers, and nothing is removed. Otherwise a
// second pass reads the ranges that differ again, and hands each key to the target.
//
// Memory does not grow with the tables. The cursor is the last key that was compared, or the ranges that
// are left. A killed run goes on there. After a run has reached its end, the next begins anew.
//
// # What is never deleted
//
// A key counts as gone only if the target had it before the source, asked afterwards for this
// very key, did not. The remover does it once more, in the transaction that deletes: it locks the
// target's rows, then asks the source, then deletes those that the source still lacks. A flow that
// copies a row that has come back either wrote it before the lock, and then the source has it, or waits
// for the lock, and then inserts it again.
//
// One case remains. A row is deleted in the source, and inserted again with the same values at the
// moment of its removal. The copying flow may find the old row unchanged just before it is deleted, and
// write nothing. The next comparison counts such a key as missing. A source column that each insert
// changes, such as updated_at, prevents it.
//
// The source must be asked where rows are written: a replica may lack rows that a flow has copied from the primary.
//
// # Keys
//
// Both sides must have the same kind of type in each key column: integers of any size, numeric,
// text, uuid, bytes, date, timestamp, timestamp with time zone. SQLite's columns have no
// type: they are compared with integers, text, uuids and bytes, or with SQLite. Floating-point
// numbers and other pairs are refused by name. So are types and collations of a target by which a
// row may stand for a key that the source spells otherwise; see [Table].SameSpelling.
//
// Two databases may order texts differently. Then they have no ranges in common. Unless both tables are alike, each
// key of one side is looked up on the other, by pages of 1,000. The result is the same, but it takes much
// longer. Give both columns the collation "C" (utf8mb4_nopad_bin in MariaDB, utf8mb4_0900_bin in
// MySQL) to avoid that.
package reconcile
