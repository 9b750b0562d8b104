package pgchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// table is a table whose changes are read.
type table struct {
	name     string // schema.table, as Change.Table
	oid      uint32
	id       string // of the table, of its part in the publication, and of when it was attached to the table that brings it there
	was      string // what cursors had as id before it said when the table was attached
	keyID    string // of the columns of the key, their types and collations
	sql      string
	kind     string   // "r", or "p" for a partitioned table
	identity string   // relreplident: "d", "i", "f" or "n"
	key      []string // the columns of the replica identity, or of the primary key
	columns  []string // those that are published
	filter   string   // of its rows, as SQL; "" for none
}

// partID is what a cursor says of a table that is loaded in part: its load goes by its key.
func (t *table) partID() string { return t.id + " " + t.keyID }

// is reports whether an id is the table's.
func (t *table) is(id string) bool { return id == t.id || id == t.was }

// isPart reports whether a partID is the table's.
func (t *table) isPart(id string) bool { return id == t.partID() || id == t.was+" "+t.keyID }

// only is the table as SQL, without those that inherit from it and are no partitions.
func (t *table) only() string {
	if t.kind == "p" {
		return t.sql
	}
	return "only " + t.sql
}

// publicationQuery asks what a publication sends, the version of the server, and that of the
// publication: the transaction that made or altered it, which adding a table does not do.
const publicationQuery = `
select pubupdate or pubdelete, pubinsert and pubupdate and pubdelete and pubtruncate, pg_catalog.current_setting('server_version_num')::integer, oid || '.' || xmin
from pg_catalog.pg_publication where pubname = $1`

// tablesQuery lists the tables of a publication. Postgres 15 has lists of columns and filters
// of rows, and Postgres 18 sends generated columns where the list says so. A table is part of a
// publication by itself or by a table that it is a partition of (pg_publication_rel), by its
// schema, or because all tables are.
const tablesQuery = `
select n.nspname || '.' || c.relname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind::text, c.relreplident::text,
	coalesce((select array_agg(a.attname::text order by k.place) from pg_catalog.pg_index i
		cross join lateral unnest(i.indkey) with ordinality as k (attnum, place)
		join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
		where i.indrelid = c.oid and k.place <= i.indnkeyatts
			and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end), '{}'),
	coalesce((select string_agg(a.attname || ':' || a.atttypid || ':' || a.attcollation, ' ' order by k.place) from pg_catalog.pg_index i
		cross join lateral unnest(i.indkey) with ordinality as k (attnum, place)
		join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
		where i.indrelid = c.oid and k.place <= i.indnkeyatts
			and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end), ''),
	(select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
		where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
			and (to_jsonb(p) ->> 'attnames' is null or to_jsonb(p) -> 'attnames' ? a.attname::text)
			and (a.attgenerated = '' or pg_catalog.current_setting('server_version_num')::integer >= 180000)),
	coalesce(to_jsonb(p) ->> 'rowfilter', ''), c.oid,
	c.oid || coalesce((select string_agg('.' || part.oid, '' order by part.oid) from (
		select r.oid from pg_catalog.pg_publication_rel r where r.prpubid = pub.oid and r.prrelid in (select c.oid union all select relid from pg_catalog.pg_partition_ancestors(c.oid))
		union all select pub.oid where pub.puballtables %[1]s) part), ''),
	coalesce((select '@' || string_agg(i.xmin::text, '.' order by i.inhrelid) from pg_catalog.pg_inherits i
		where c.relispartition and i.inhrelid in (select relid from pg_catalog.pg_partition_ancestors(c.oid)) and not pub.puballtables
			and not exists (select from pg_catalog.pg_publication_rel r where r.prpubid = pub.oid and r.prrelid = c.oid %[2]s)), '')
from pg_catalog.pg_publication_tables p
join pg_catalog.pg_publication pub on pub.pubname = p.pubname
join pg_catalog.pg_namespace n on n.nspname = p.schemaname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
where p.pubname = $1
order by 1`

// schemasQuery and ownSchemaQuery are the parts of tablesQuery for the schemas of a publication, of Postgres 15.
const (
	schemasQuery = `union all select s.oid from pg_catalog.pg_publication_namespace s where s.pnpubid = pub.oid and s.pnnspid in (
			select c.relnamespace union all select a.relnamespace from pg_catalog.pg_partition_ancestors(c.oid) join pg_catalog.pg_class a on a.oid = relid)`
	ownSchemaQuery = `union all select from pg_catalog.pg_publication_namespace s where s.pnpubid = pub.oid and s.pnnspid = c.relnamespace`
)

// resolveQuery finds a table by its name.
const resolveQuery = `
select n.nspname || '.' || c.relname, c.relkind::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`

// published is what a publication sends.
type published struct {
	id     string   // which version of the publication it is
	tables []*table // those to read
}

// lookUp looks up the tables to read.
func (s *stream) lookUp(ctx context.Context, conn *pgx.Conn) (*published, error) {
	var changes, everything bool
	var version int
	p := &published{}
	err := conn.QueryRow(ctx, publicationQuery, s.options.Publication).Scan(&changes, &everything, &version, &p.id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, dataflow.Permanent(fmt.Errorf("there is no publication %q in this database: create publication %s for table …", s.options.Publication, pgx.Identifier{s.options.Publication}.Sanitize()))
	}
	if err != nil {
		return nil, fmt.Errorf("look up publication %q: %w", s.options.Publication, err)
	}
	schemas, ownSchema := "", ""
	if version >= 150000 {
		schemas, ownSchema = schemasQuery, ownSchemaQuery
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(tablesQuery, schemas, ownSchema), s.options.Publication)
	if err != nil {
		return nil, fmt.Errorf("look up the tables of publication %q: %w", s.options.Publication, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*table, error) {
		t := &table{}
		var attached string
		err := row.Scan(&t.name, &t.sql, &t.kind, &t.identity, &t.key, &t.keyID, &t.columns, &t.filter, &t.oid, &t.was, &attached)
		t.id = t.was + attached
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the tables of publication %q: %w", s.options.Publication, err)
	}
	if !everything {
		s.tell(ctx, fmt.Sprintf("publication %q does not publish all of insert, update, delete and truncate: what it leaves out is not read. With a row filter, an update after which a row does not pass it is a delete all the same", s.options.Publication))
	}
	if p.tables, err = s.choose(ctx, conn, all); err != nil {
		return nil, err
	}
	for _, t := range p.tables {
		if err := s.check(t, changes); err != nil {
			return nil, dataflow.Permanent(err)
		}
	}
	return p, nil
}

// choose returns the tables of the publication that the options name.
func (s *stream) choose(ctx context.Context, conn *pgx.Conn, published []*table) ([]*table, error) {
	if len(s.options.Tables) == 0 {
		if len(published) == 0 {
			return nil, dataflow.Permanent(fmt.Errorf("publication %q has no tables: alter publication %s add table …", s.options.Publication, pgx.Identifier{s.options.Publication}.Sanitize()))
		}
		return published, nil
	}
	var tables []*table
	for _, given := range s.options.Tables {
		var name, kind string
		err := conn.QueryRow(ctx, resolveQuery, quoted(given)).Scan(&name, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, dataflow.Permanent(fmt.Errorf("there is no table %s in this database, or the search path does not lead to it: qualify it with its schema", given))
		}
		if err != nil {
			return nil, fmt.Errorf("look up table %s: %w", given, err)
		}
		at := slices.IndexFunc(published, func(t *table) bool { return t.name == name })
		switch {
		case at >= 0:
			tables = append(tables, published[at])
		case kind == "p":
			return nil, dataflow.Permanent(fmt.Errorf("publication %q does not send the changes of the partitioned table %s by its root: alter publication %[3]s set (publish_via_partition_root = true), and alter publication %[3]s add table %[2]s if it is not part of it", s.options.Publication, name, pgx.Identifier{s.options.Publication}.Sanitize()))
		default:
			return nil, dataflow.Permanent(fmt.Errorf("table %s is not part of publication %q: alter publication %s add table %s", name, s.options.Publication, pgx.Identifier{s.options.Publication}.Sanitize(), name))
		}
	}
	return tables, nil
}

// quoted returns a table's name as SQL. What is in quotes stays as it is.
func quoted(name string) string {
	if strings.Contains(name, `"`) {
		return name
	}
	return pgx.Identifier(strings.Split(name, ".")).Sanitize()
}

// check returns an error if a table's changes cannot be read.
func (s *stream) check(t *table, changes bool) error {
	switch {
	case changes && (t.identity == "n" || t.identity != "f" && len(t.key) == 0):
		return fmt.Errorf("table %s has no replica identity, so that Postgres cannot say which row an update or a delete was of, and refuses these: "+
			"add a primary key (with replica identity default), or alter table %[1]s replica identity using index … (a unique index of columns that are not null), or alter table %[1]s replica identity full (slow for large tables)", t.name)
	case !s.options.OnlyChanges && len(t.key) == 0:
		return fmt.Errorf("table %s has no primary key, in whose order the first load reads: add one, or set Options.OnlyChanges", t.name)
	default:
		return nil
	}
}
