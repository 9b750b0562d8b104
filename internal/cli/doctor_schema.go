package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const named = `(?: if (?:not )?exists)? (?:"(?:[^"]|"")+"\.|\w+\.)?(\w+)`

var (
	indexStatement = regexp.MustCompile(`(?i)(create|create unique|drop) index` + named)
	tableStatement = regexp.MustCompile(`(?i)(create|drop) table` + named)
)

// riverIndexes are the indexes that River needs to find jobs, on both databases. River has
// others, which change from version to version.
var riverIndexes = []string{"river_job_kind", "river_job_prioritized_fetching_index", "river_job_state_and_finalized_at_index", "river_job_unique_idx"} //nolint:gochecknoglobals // a constant

// made maps the name of each table or index that the migrations make to the kind of statement
// that makes it, such as "create unique".
func (s *session) made(ctx context.Context, statement *regexp.Regexp) (map[string]string, error) {
	m, err := s.client.Migrations(ctx)
	if err != nil {
		return nil, err
	}
	made := make(map[string]string)
	for _, step := range m.Migrations {
		for _, match := range statement.FindAllStringSubmatch(step.Up, -1) {
			how, name := strings.ToLower(match[1]), match[2]
			if how == "drop" {
				delete(made, name)
			} else {
				made[name] = how
			}
		}
	}
	return made, nil
}

// missingTables lists our tables, and River's, that are not in the database.
func (s *session) missingTables(ctx context.Context) ([]string, error) {
	made, err := s.made(ctx, tableStatement)
	if err != nil {
		return nil, err
	}
	made["river_job"] = "create"
	have, err := s.names(ctx, "table", `
		select coalesce(array_agg(relname::text), '{}') from pg_class
		where relkind in ('r', 'p') and relnamespace = `+inSchema)
	if err != nil {
		return nil, err
	}
	return missing(made, have, func(string) bool { return true }), nil
}

// indexes compares the indexes in the database with those that the migrations make. Our unique
// indexes prevent duplicate runs.
func (s *session) indexes(ctx context.Context) ([]finding, error) {
	made, err := s.made(ctx, indexStatement)
	if err != nil {
		return nil, err
	}
	for _, name := range riverIndexes {
		made[name] = "create"
	}
	have, err := s.names(ctx, "index", `
		select coalesce(array_agg(c.relname::text), '{}') from pg_index i
		join pg_class c on c.oid = i.indexrelid
		where i.indisvalid and c.relnamespace = `+inSchema)
	if err != nil {
		return nil, err
	}
	how := fmt.Sprintf("%s migrate sql --all prints the statements for dataflow's, and River's migrations make those of river_job", s.program.Name)
	var found []finding
	if unique := missing(made, have, func(how string) bool { return how == "create unique" }); len(unique) > 0 {
		found = append(found, problem("indexes", "missing or not valid, and nothing else prevents duplicate runs: %s; %s", strings.Join(unique, ", "), how))
	}
	if others := missing(made, have, func(how string) bool { return how == "create" }); len(others) > 0 {
		found = append(found, warning("indexes", "missing or not valid: %s; %s", strings.Join(others, ", "), how))
	}
	if found == nil {
		found = []finding{ok("indexes", "all indexes exist")}
	}
	return found, nil
}

// missing lists what the migrations make, by a kind of statement, and the database lacks.
func missing(made map[string]string, have []string, by func(how string) bool) (names []string) {
	for name, how := range made {
		if by(how) && !slices.Contains(have, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// inSchema is the schema in a query for [session.names].
const inSchema = `(select oid from pg_namespace where nspname = coalesce($1::text, current_schema()::text))`

// names lists names in the database: on SQLite those of a type, on Postgres the result of a
// query.
func (s *session) names(ctx context.Context, sqliteType, postgres string) (names []string, err error) {
	if s.db.Postgres != nil {
		err = s.db.Postgres.QueryRow(ctx, postgres, nullable(s.schemaName())).Scan(&names)
		return names, err
	}
	rows, err := s.db.SQLite.QueryContext(ctx, `select name from sqlite_master where type = ?`, sqliteType)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // only to be read
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
