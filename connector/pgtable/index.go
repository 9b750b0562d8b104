package pgtable

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// createIndex returns the statement that creates an index. It blocks no writer, except on a
// partitioned table, for which Postgres has no other way. All names are SQL.
func createIndex(unique bool, kind, table, columns string) string {
	sql := "create "
	if unique {
		sql += "unique "
	}
	sql += "index "
	if kind != "p" {
		sql += "concurrently "
	}
	return sql + "on " + table + " (" + columns + ")"
}

// sorted is what a node of a plan sorts: the expressions, and the only relation that they
// are of.
type sorted struct {
	rows     float64
	keys     []string
	relation *plan // nil if there are several, or none
}

// sorts returns the node that sorts the most rows.
func (p *plan) sorts() sorted {
	var most sorted
	if p.Type == "Sort" {
		most = sorted{rows: p.Rows, keys: p.Keys}
		if found := p.relations(); len(found) == 1 {
			most.relation = found[0]
		}
	}
	for i := range p.Plans {
		if below := p.Plans[i].sorts(); below.rows > most.rows {
			most = below
		}
	}
	return most
}

// relations returns the nodes that read a relation.
func (p *plan) relations() (found []*plan) {
	if p.Relation != "" {
		found = append(found, p)
	}
	for i := range p.Plans {
		found = append(found, p.Plans[i].relations()...)
	}
	return found
}

var (
	collated = regexp.MustCompile(`^(.*?)( COLLATE (?:"(?:[^"]|"")+"|[\w.$]+)+)?$`)
	plainSQL = regexp.MustCompile(`^(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)$`)
)

// index returns the statement of an index in the order of the sort, "" if it cannot be
// written or made.
func (s *sorted) index(ctx context.Context, r *reader) string {
	if s.relation == nil || len(s.keys) == 0 {
		return ""
	}
	var quoted, kind string
	err := r.pool.QueryRow(ctx, "select quote_ident($1), c.relkind::text from pg_catalog.pg_class c where c.oid = to_regclass($2)",
		s.relation.Alias, pgx.Identifier{s.relation.Schema, s.relation.Relation}.Sanitize()).Scan(&quoted, &kind)
	if err != nil {
		return ""
	}
	prefix, err := regexp.Compile(`(^|[^\w."$])` + regexp.QuoteMeta(quoted) + `\.`)
	if err != nil {
		return ""
	}
	columns := make([]string, len(s.keys))
	for i, key := range s.keys {
		parts := collated.FindStringSubmatch(prefix.ReplaceAllString(key, "$1"))
		columns[i] = bare(parts[1])
		if !plainSQL.MatchString(columns[i]) {
			columns[i] = "(" + columns[i] + ")"
		}
		columns[i] += parts[2]
	}
	table, list := pgx.Identifier{s.relation.Schema, s.relation.Relation}.Sanitize(), strings.Join(columns, ", ")
	if !r.canIndex(ctx, table, list) {
		return ""
	}
	return createIndex(false, kind, table, list)
}

// bare returns an expression without the parentheses around it.
func bare(sql string) string {
	depth, quote := 0, byte(0)
	for i := range len(sql) {
		switch c := sql[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth == 0 && i < len(sql)-1 {
			return sql
		}
	}
	if len(sql) < 2 || sql[0] != '(' {
		return sql
	}
	return bare(sql[1 : len(sql)-1])
}

var errTried = errors.New("it works")

// canIndex tries an index on an empty copy of a table, which is rolled back. Postgres
// refuses expressions whose value may change, such as a date of a time with time zone.
func (r *reader) canIndex(ctx context.Context, table, columns string) bool {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "create temp table dataflow_try (like "+table+") on commit drop; create index on dataflow_try ("+columns+")", pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			err = errTried
		}
		return err
	})
	return errors.Is(err, errTried)
}
