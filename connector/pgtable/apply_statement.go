package pgtable

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// applyTable is what an applySink knows about its table in one database.
type applyTable struct {
	single     bool // changes must be applied one by one
	referenced bool // other tables reference it, so that Postgres refuses to truncate it alone
	statements map[string]*applyStatement
}

// applyStatement deletes or updates rows.
type applyStatement struct {
	*statement
	run string // returns the numbers of the rows that it did not find, if it updates
}

// actsQuery asks whether deleting a row of the table deletes or changes others, whether other
// tables reference it, and whether row security may hide rows of it.
const actsQuery = `select exists (select from pg_catalog.pg_constraint where contype = 'f' and confrelid = to_regclass($1) and confdeltype in ('c', 'n', 'd')),
	exists (select from pg_catalog.pg_constraint where contype = 'f' and confrelid = to_regclass($1) and conrelid <> confrelid),
	%s`

func (s *applySink[T]) table(ctx context.Context, tx pgx.Tx) (*applyTable, error) {
	database := databaseOf(tx)
	s.mu.Lock()
	at := s.tables[database]
	s.mu.Unlock()
	if at != nil {
		return at, nil
	}
	var hidden bool
	at = &applyTable{statements: make(map[string]*applyStatement)}
	if err := tx.QueryRow(ctx, fmt.Sprintf(actsQuery, hides("to_regclass($1)")), s.to.name.Sanitize()).Scan(&at.single, &at.referenced, &hidden); err != nil {
		return nil, inTheWay(fmt.Errorf("look up its foreign keys: %w", err))
	}
	if hidden {
		return nil, errHidden
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[database] = at
	return at, nil
}

// statementOf returns the statement of a kind that leaves the absent columns alone.
func (s *applySink[T]) statementOf(ctx context.Context, tx pgx.Tx, at *applyTable, kind string, absent []string) (*applyStatement, error) {
	name := kind + "\x00" + strings.Join(absent, "\x00")
	s.mu.Lock()
	st := at.statements[name]
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	to, err := lookUp(ctx, tx, s.to.name, s.to.key)
	if err != nil {
		return nil, err
	}
	fields := &rowmap.Plan{Type: s.to.fields.Type}
	for _, c := range s.to.fields.Columns {
		isKey := slices.Contains(s.to.key, c.Name)
		if isKey || kind != "delete" && kind != "key" && !slices.Contains(absent, c.Name) {
			fields.Columns = append(fields.Columns, c)
		}
	}
	of, err := newStatement(s.to.name, fields, to, s.to.way)
	if err != nil {
		return nil, err
	}
	st = &applyStatement{statement: of}
	st.run = st.text(s.to.name.Sanitize(), kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	at.statements[name] = st
	return st, nil
}

// text returns the SQL of a statement that deletes, patches, moves or upserts.
func (st *applyStatement) text(table, kind string) string {
	var match, set, old []string
	casts := st.values()
	keys := 0
	for i, c := range st.columns {
		value := "v.c" + strconv.Itoa(i+1)
		if c.key {
			match = append(match, "t."+rowmap.Quote(c.name)+c.collate()+" = "+value+c.collate())
			keys++
			place := strings.Replace(casts[i], "u.c"+strconv.Itoa(i+1), "(($"+strconv.Itoa(len(st.columns)+keys)+"::"+c.wire+"[])[1])", 1)
			old = append(old, "t."+rowmap.Quote(c.name)+c.collate()+" = "+place+c.collate())
		}
		if !c.key || kind == "move" {
			set = append(set, rowmap.Quote(c.name)+" = "+value)
		}
	}
	match, old = append(match, unlessHidden(table)), append(old, unlessHidden(table))
	rows := "(" + st.numbered() + ") v"
	switch kind {
	case "delete":
		return "delete from " + table + " t using " + rows + " where " + strings.Join(match, " and ")
	case "move":
		return "update " + table + " t set " + strings.Join(set, ", ") + " from " + rows + " where " + strings.Join(old, " and ")
	case "patch":
		if len(set) == 0 {
			return "select v.n from " + rows + " where not exists (select from " + table + " t where " + strings.Join(match, " and ") + ")"
		}
		return "with u as (update " + table + " t set " + strings.Join(set, ", ") + " from " + rows + " where " + strings.Join(match, " and ") + " returning v.n)\n" +
			"select v.n from " + rows + " where not exists (select from u where u.n = v.n)"
	default:
		return st.sql
	}
}
