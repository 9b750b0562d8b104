package pgtable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// replacedQuery looks up a table whose rows are to be replaced.
const replacedQuery = `
select n.nspname, c.relname, c.relkind in ('r', 'p'), %s
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`

// referencesQuery lists the foreign keys that refer to a table.
const referencesQuery = `
select conname, conrelid::regclass::text, conrelid = confrelid, confdeltype::text
from pg_catalog.pg_constraint where contype = 'f' and confrelid = to_regclass($1) order by conname`

// replaced is a table whose rows are replaced.
type replaced struct {
	schema, table string
	referenced    bool           // true if another table has a foreign key to it
	columns       []string       // the columns that are written
	over          string         // as in [statement]
	stage         pgx.Identifier // the staging table
}

// lookUpReplaced looks up a table. It returns an error if the rows cannot be
// replaced.
func lookUpReplaced(ctx context.Context, tx pgx.Tx, name pgx.Identifier) (*replaced, error) {
	p := &replaced{}
	var isTable, secured bool
	err := tx.QueryRow(ctx, fmt.Sprintf(replacedQuery, hides("c.oid")), name.Sanitize()).Scan(&p.schema, &p.table, &isTable, &secured)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, errors.New("the table no longer exists")
	case err != nil:
		return nil, inTheWay(fmt.Errorf("look up the table: %w", err))
	case !isTable:
		return nil, dataflow.Permanent(errors.New("it is not a table: Replace needs a table"))
	case secured:
		return nil, dataflow.Permanent(errors.New("row security is active for this role and may hide rows, which then could not be replaced: use a role with bypassrls, or the table's owner, or a policy for it using (true)"))
	}
	return p, p.lookUpReferences(ctx, tx, name)
}

func (p *replaced) lookUpReferences(ctx context.Context, tx pgx.Tx, name pgx.Identifier) error {
	rows, err := tx.Query(ctx, referencesQuery, name.Sanitize())
	if err != nil {
		return inTheWay(fmt.Errorf("look for foreign keys: %w", err))
	}
	var key, table, action, own string
	var self bool
	var refused error
	_, err = pgx.ForEachRow(rows, []any{&key, &table, &self, &action}, func() error {
		switch {
		case self && action != "a":
			own = key
		case self:
		case action != "a":
			refused = fmt.Errorf(`foreign key %q of table %s acts on deleted rows ("on delete …"): use "on delete no action", which is checked against the new rows, or the target Upsert`, key, table)
		default:
			p.referenced = true
		}
		return nil
	})
	if err != nil {
		return inTheWay(fmt.Errorf("look for foreign keys: %w", err))
	}
	if own != "" && p.referenced { // the key would act on the new rows
		refused = fmt.Errorf(`foreign key %q of the table to itself acts on deleted rows ("on delete …"), and another table refers to it too: use "on delete no action"`, own)
	}
	if refused != nil {
		return dataflow.Permanent(refused)
	}
	return nil
}

// retypedQuery finds a column of the staging table that is of another type in the table.
const retypedQuery = `
select s.attname, pg_catalog.format_type(s.atttypid, s.atttypmod), pg_catalog.format_type(t.atttypid, t.atttypmod)
from pg_catalog.pg_attribute s join pg_catalog.pg_attribute t on t.attname = s.attname
where s.attrelid = to_regclass($1) and t.attrelid = to_regclass($2) and s.attnum > 0 and not s.attisdropped and (s.atttypid, s.atttypmod) <> (t.atttypid, t.atttypmod)
order by s.attnum limit 1`

// checkTypes returns an error if the table was altered since its staging table was made, which has the values in the
// types of then.
func (p *replaced) checkTypes(ctx context.Context, tx pgx.Tx) error {
	var column, then, now string
	err := tx.QueryRow(ctx, retypedQuery, p.stage.Sanitize(), p.name()).Scan(&column, &then, &now)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return inTheWay(fmt.Errorf("look up the columns: %w", err))
	}
	return fmt.Errorf("column %q has become %s since the run began, and its rows were written as %s: run the flow again", column, now, then)
}

// stageName names the staging table of a flow for a table. The name shows its
// purpose, and differs for two flows.
func stageName(table, flow string) string {
	const most = 63 - len("dataflow_stage__") - 10 - len(begun) // in bytes; Postgres allows 63
	sum := sha256.Sum256([]byte(table + "\x00" + flow))
	for len(table) > most {
		_, last := utf8.DecodeLastRuneInString(table)
		table = table[:len(table)-last]
	}
	return "dataflow_stage_" + table + "_" + hex.EncodeToString(sum[:5])
}

// begun ends the name of the table that shows whether the staging table was
// emptied.
const begun = "_begun"

func (p *replaced) begun() string {
	return pgx.Identifier{p.schema, p.stage[len(p.stage)-1] + begun}.Sanitize()
}

// isWhole returns a query that asks whether all collected rows are still there. A
// crash empties all unlogged tables, so an empty begun table shows it.
func (p *replaced) isWhole() string { return "select exists (select from " + p.begun() + ")" }

func (p *replaced) name() string  { return pgx.Identifier{p.schema, p.table}.Sanitize() }
func (p *replaced) names() string { return rowmap.QuoteAll(p.columns, ", ") }

// tryInsert and tryDelete return statements that fail early, before anything is
// read, if the role lacks a privilege for the end of the run or a column cannot be
// written.
func (p *replaced) tryInsert() string {
	return "explain insert into " + p.name() + " (" + p.names() + ") " + p.over + "select " + p.names() + " from " + p.name() + " where false"
}

func (p *replaced) tryDelete() string { return "explain delete from " + p.name() + " where false" }

// makeStage returns the statements that create the staging table. Columns without a
// field get their values when the rows are moved.
func (p *replaced) makeStage(columns []tableColumn, flow string) string {
	stage := p.stage.Sanitize()
	sql := "drop table if exists " + stage + ", " + p.begun() + "; create unlogged table " + p.begun() + " as select now() as at; create unlogged table " + stage + " (like " + p.name() + " including constraints including indexes)"
	var without []string
	for _, c := range columns {
		if !slices.Contains(p.columns, c.name) {
			without = append(without, "drop column "+rowmap.Quote(c.name)+" cascade")
		}
	}
	if without != nil {
		sql += "; alter table " + stage + " " + strings.Join(without, ", ")
	}
	return sql + "; comment on table " + stage + " is " + literal(fmt.Sprintf(
		"Rows that flow %q has read so far; they will replace the rows of %s. Created by dataflow; it can be dropped while the flow is not running.", flow, p.name()))
}

// literal returns a text as an SQL literal, whatever the value of
// standard_conforming_strings.
func literal(text string) string {
	return "e'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// moveRows returns the statements that replace the rows. Foreign keys of other
// tables are checked at the end of a statement. So with such keys one statement
// deletes and inserts: counting the deleted rows forces the deletion before the
// first insert. Without them, two statements save the space for the count.
func (p *replaced) moveRows() []string {
	remove := "delete from " + p.name()
	insert := "insert into " + p.name() + " (" + p.names() + ") " + p.over + "select s." + rowmap.QuoteAll(p.columns, ", s.") + " from " + p.stage.Sanitize() + " s"
	drop := "drop table " + p.stage.Sanitize() + ", " + p.begun()
	if p.referenced {
		return []string{"with gone as (" + remove + " returning 1), counted as (select count(*) from gone)\n" + insert + ", counted", drop}
	}
	return []string{remove, insert, drop}
}
