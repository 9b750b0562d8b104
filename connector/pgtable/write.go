package pgtable

import (
	"errors"
	"reflect"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// Table says how [Write] writes to a table.
type Table struct {
	// Name is the table, as in [Insert].
	Name string
	// Key are the columns that identify a row. With a key, records are written as by
	// [Upsert]. Without one, they are written as by [Insert].
	Key []string
	// Pool leads to another database than the client's, as in [InsertTo] and [UpsertTo].
	// Nil is the client's database.
	Pool *pgxpool.Pool
	// Replace replaces all rows by those of each run, as [Replace] does. It needs neither
	// Key nor Pool.
	Replace bool
	// OverridingSystemValue writes the records' own values to identity columns that are
	// "generated always", which Postgres refuses otherwise. As in SQL, the sequence does
	// not move: move it with setval before others insert rows that it numbers. An upsert
	// can write such a column only if it is part of the key, because Postgres never changes
	// it in a row that exists.
	OverridingSystemValue bool
	// SpareSequences makes an upsert spend numbers of a sequence only on new rows, even
	// where that takes time. It is for a column that the records lack, and whose default
	// is a serial or an identity.
	//
	// By default, an upsert looks first which rows exist, and inserts the others. This costs
	// next to nothing for new rows and for rows that exist unchanged. Where all rows of a batch
	// change, it takes about twice as long (docs/benchmarks.md). Large batches of new rows are
	// copied straight into the table, if none of 16 keys of the batch exists; the other way takes
	// about three times as long. If other keys exist, Postgres refuses the copy after it has
	// spent up to one number a row. The next 100 batches are then written the other way. With
	// SpareSequences, no batch is copied so.
	//
	// A row that another transaction inserts at the same time still spends a number, and so
	// does a batch that is rolled back. All rows spend one in a table with rules, with row
	// security, or with a trigger before insert for each row, and in a view.
	SpareSequences bool
}

// Write writes to a table in the ways of [Insert], [Upsert], [InsertTo], [UpsertTo] and
// [Replace], with options that these lack.
//
//	pgtable.Write[Order](pgtable.Table{Name: "orders", Key: []string{"id"}, OverridingSystemValue: true})
func Write[T any](table Table) dataflow.Target[T] {
	to := newTableSink(reflect.TypeFor[T](), table.Name, len(table.Key) > 0, table.Key)
	to.overriding, to.sparing = table.OverridingSystemValue, table.SpareSequences
	to.tableErr = table.validate()
	s := &sink[T]{tablePowers: to, to: to}
	switch {
	case table.Replace:
		return dataflow.ToReplace[T](&replaceSink[T]{&replacer{into: to}})
	case table.Pool != nil:
		return dataflow.ToFenced[T](newFenced(table.Pool, s))
	case to.upsert:
		return dataflow.ToTx[T](reporting(s))
	default:
		return dataflow.ToTx[T](s)
	}
}

func (t *Table) validate() error {
	var errs []error
	if t.Replace && (len(t.Key) > 0 || t.Pool != nil) {
		errs = append(errs, &dataflow.ConfigError{Field: "Table.Replace", Reason: "it needs neither Key nor Pool: all rows of a table of the client's database are replaced"})
	}
	if t.SpareSequences && len(t.Key) == 0 {
		errs = append(errs, &dataflow.ConfigError{Field: "Table.SpareSequences", Reason: "it is for an upsert: set Key"})
	}
	return errors.Join(errs...)
}
