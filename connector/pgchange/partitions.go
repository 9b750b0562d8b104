package pgchange

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow/internal/notes"
)

// partition is one of a table, as it was when this process looked.
type partition struct {
	name string
	file uint32 // that has its rows; 0 if it has partitions of its own
	part string // the transaction that attached it
}

// partitionsQuery lists the partitions of tables. A partition that was attached has an entry in
// pg_inherits of another transaction than the one that made it. One that was truncated or written
// anew has another file.
const partitionsQuery = `
select root.oid, c.oid, c.oid::regclass::text, c.relfilenode, i.xmin::text, i.xmin <> t.xmin
from unnest($1::oid[]) root (oid)
cross join lateral pg_catalog.pg_partition_tree(root.oid::regclass) p
join pg_catalog.pg_class c on c.oid = p.relid
join pg_catalog.pg_inherits i on i.inhrelid = c.oid
join pg_catalog.pg_type t on t.oid = c.reltype`

// tellPartitions says which partitions have come and gone with rows since this process looked last,
// or may have been truncated. The log has nothing of that.
func (s *stream) tellPartitions(ctx context.Context, conn *pgx.Conn, tables []*table) error {
	var roots []uint32
	names, now := make(map[uint32]string), make(map[uint32]map[uint32]partition)
	for _, t := range tables {
		if t.kind == "p" {
			roots, names[t.oid], now[t.oid] = append(roots, t.oid), t.name, make(map[uint32]partition)
		}
	}
	if roots == nil || !notes.Logs(ctx) {
		return nil
	}
	rows, err := conn.Query(ctx, partitionsQuery, roots)
	if err != nil {
		return fmt.Errorf("look up partitions: %w", err)
	}
	s.mu.Lock()
	before := s.partitions
	s.mu.Unlock()
	var root, oid uint32
	var is partition
	var attached bool
	_, err = pgx.ForEachRow(rows, []any{&root, &oid, &is.name, &is.file, &is.part, &attached}, func() error {
		now[root][oid] = is
		was, known := before[root][oid]
		if known && was.part != is.part {
			s.tell(ctx, fmt.Sprintf("partition %s was detached from table %s and attached again (by transaction %s): what was changed in it meanwhile is not in the log. If anything was, load the tables again: alter publication … drop table, and add table", is.name, names[root], is.part))
		}
		if before[root] != nil && !known && attached {
			s.tell(ctx, fmt.Sprintf("partition %s was attached to table %s: rows that it had by then are not in the log. If it had any, load the tables again: alter publication … drop table, and add table", is.name, names[root]))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look up partitions: %w", err)
	}
	for root, was := range before {
		for oid, p := range was {
			if _, is := now[root][oid]; !is && now[root] != nil {
				s.tell(ctx, fmt.Sprintf("partition %s was detached from table %s, or dropped: Postgres sends no deletes of its rows, which stay in the target: delete them there", p.name, names[root]))
			}
		}
		for _, p := range written(was, now[root]) {
			s.tell(ctx, fmt.Sprintf("partition %s of table %s has another file now, %d: if it was truncated by itself, its rows stay in the target, because Postgres does not send that: delete them there. If that was a truncate of the whole table, or a rewrite such as vacuum full, nothing is missing", p.name, names[root], p.file))
		}
	}
	s.mu.Lock()
	s.partitions = now
	s.mu.Unlock()
	return nil
}

// written returns the partitions that were truncated or written anew between two looks. It returns
// none if all of several were: a truncate of the whole table is sent. Of one alone, nobody can tell.
func written(was, now map[uint32]partition) []partition {
	var anew []partition
	same := 0
	for oid, p := range was {
		switch is, known := now[oid]; {
		case !known || p.file == 0:
		case is.file == p.file:
			same++
		default:
			anew = append(anew, is)
		}
	}
	if same == 0 && len(anew) > 1 {
		return nil
	}
	return anew
}
