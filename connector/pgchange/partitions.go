package pgchange

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow/internal/notes"
)

// partitionsQuery lists the partitions of tables. A partition that was attached has an entry in
// pg_inherits of another transaction than the one that made it.
const partitionsQuery = `
select root.oid, c.oid, c.oid::regclass::text, i.xmin <> t.xmin
from unnest($1::oid[]) root (oid)
cross join lateral pg_catalog.pg_partition_tree(root.oid::regclass) p
join pg_catalog.pg_class c on c.oid = p.relid
join pg_catalog.pg_inherits i on i.inhrelid = c.oid
join pg_catalog.pg_type t on t.oid = c.reltype`

// tellPartitions says which partitions have come and gone with rows since this process looked last.
// The log has no rows of these.
func (s *stream) tellPartitions(ctx context.Context, conn *pgx.Conn, tables []*table) error {
	var roots []uint32
	names, now := make(map[uint32]string), make(map[uint32]map[uint32]string)
	for _, t := range tables {
		if t.kind == "p" {
			roots, names[t.oid], now[t.oid] = append(roots, t.oid), t.name, make(map[uint32]string)
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
	var name string
	var attached bool
	_, err = pgx.ForEachRow(rows, []any{&root, &oid, &name, &attached}, func() error {
		now[root][oid] = name
		if _, was := before[root][oid]; before[root] != nil && !was && attached {
			s.tell(ctx, fmt.Sprintf("partition %s was attached to table %s: rows that it had by then are not in the log. If it had any, load the tables again: alter publication … drop table, and add table", name, names[root]))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look up partitions: %w", err)
	}
	for root, was := range before {
		for oid, name := range was {
			if _, is := now[root][oid]; !is && now[root] != nil {
				s.tell(ctx, fmt.Sprintf("partition %s was detached from table %s, or dropped: Postgres sends no deletes of its rows, which stay in the target: delete them there", name, names[root]))
			}
		}
	}
	s.mu.Lock()
	s.partitions = now
	s.mu.Unlock()
	return nil
}
