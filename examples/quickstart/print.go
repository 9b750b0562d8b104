package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// query is a query to show at the end.
type query struct{ title, sql string }

func queries() []query {
	return []query{
		{"The last strikes", `select id, flight_date, airport_name, wildlife_species, cost_total, speed_knots from strikes order by id desc limit 3`},
		{"The costliest species", `select species, strikes, cost from species_costs order by cost desc, species limit 5`},
		{"In all", `select (select count(*) from strikes) as strikes, (select cast(sum(strikes) as bigint) from species_costs) as costly, (select cast(sum(cost) as bigint) from species_costs) as cost`},
	}
}

func printPostgres(ctx context.Context, pool *pgxpool.Pool, query string) error {
	rows, err := pool.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	t := newTable()
	for _, f := range rows.FieldDescriptions() {
		t.cell(f.Name)
	}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		t.row(values)
	}
	t.end()
	return rows.Err()
}

func printSQLite(ctx context.Context, db *sql.DB, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	t := newTable()
	for _, c := range columns {
		t.cell(c)
	}
	values, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		t.row(values)
	}
	t.end()
	return rows.Err()
}

// table prints aligned columns.
type table struct{ w *tabwriter.Writer }

func newTable() table { return table{tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)} }

func (t table) cell(v any) {
	switch x := v.(type) {
	case nil:
		v = "-"
	case time.Time:
		v = x.Format(time.DateOnly)
	}
	_, _ = fmt.Fprintf(t.w, "  %v\t", v)
}

func (t table) row(values []any) {
	_, _ = fmt.Fprintln(t.w)
	for _, v := range values {
		t.cell(v)
	}
}

func (t table) end() {
	_, _ = fmt.Fprintln(t.w)
	_ = t.w.Flush()
}
