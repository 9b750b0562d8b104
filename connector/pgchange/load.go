package pgchange

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

const (
	defaultChunk = 5000
	chunkAgain   = 20 * time.Millisecond // after which a chunk is read again that was read too early
)

// chunk is a part of a table that was read by a query, and waits until the log is read up to
// where it was read.
type chunk[T any] struct {
	of    *table
	sees  snapshot
	until LSN // all that the snapshot sees was committed before
	rel   *relation[T]
	rows  []chunkRow
	at    map[string]int // the rows by their key
	last  bool           // the table has no more rows
	// unclear says that a change of the table does not tell which row of the chunk it was of.
	unclear bool
}

type chunkRow struct {
	tuple tuple
	key   []string
	gone  bool // a newer change has taken its place
}

// snapshot says which transactions a query sees.
type snapshot struct {
	min, max uint32
	open     map[uint32]bool
}

// parseSnapshot reads the text of pg_current_snapshot, such as 10:20:10,14,15. The log has the
// lower half of these numbers.
func parseSnapshot(text string) (snapshot, error) {
	s := snapshot{open: make(map[uint32]bool)}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return s, fmt.Errorf("%q is not a snapshot", text)
	}
	lower, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return s, err
	}
	upper, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return s, err
	}
	s.min, s.max = uint32(lower), uint32(upper)
	for _, part := range strings.Split(parts[2], ",") {
		if part == "" {
			continue
		}
		xid, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return s, err
		}
		s.open[uint32(xid)] = true
	}
	return s, nil
}

// has reports whether the snapshot sees what a committed transaction has done.
func (s *snapshot) has(xid uint32) bool {
	return int32(xid-s.max) < 0 && !s.open[xid]
}

// loading reports whether a table is still to be loaded.
func (s *source[T]) loading(r *reader[T]) bool { return r.pos.unloaded(r.tables) != nil }

// load goes on with the first load, where that is possible now.
func (r *reader[T]) load(ctx context.Context) error {
	if r.tx.open || r.pos.Commit != 0 {
		return nil
	}
	if r.chunk != nil && r.chunk.unclear {
		r.chunk, r.tried = nil, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	}
	if r.chunk != nil {
		if r.pos.LSN < r.chunk.until {
			return nil
		}
		return r.giveChunk()
	}
	t := r.pos.unloaded(r.tables)
	if t == nil || time.Since(r.tried) < chunkAgain {
		return nil
	}
	r.tried = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	var err error
	r.chunk, err = r.readChunk(ctx, t)
	if err != nil {
		return fmt.Errorf("load table %s: %w", t.name, err)
	}
	if r.chunk != nil {
		r.tried = time.Time{}
	}
	return nil
}

// readChunk reads the next rows of a table. It returns nil if the snapshot does not see yet
// what was read from the log.
func (r *reader[T]) readChunk(ctx context.Context, t *table) (*chunk[T], error) {
	if r.resumed {
		if waits, err := r.unseen(ctx); err != nil || waits {
			return nil, err
		}
	}
	if !r.pos.begun(t) {
		if waits, err := r.settle(ctx); err != nil || waits {
			return nil, err
		}
	}
	c, err := r.readRows(ctx, t)
	if err != nil || c == nil {
		return nil, err
	}
	r.resumed = false
	r.pos.begin(t)
	var text string
	if err := r.control.QueryRow(ctx, "select pg_catalog.pg_logical_emit_message(true, 'dataflow', '')::text").Scan(&text); err != nil {
		return nil, fmt.Errorf("write a watermark to the log: %w", err)
	}
	at, err := pglogrepl.ParseLSN(text)
	c.until = LSN(at)
	return c, err
}

// readRows reads the next rows of a table, and what the query has seen. It returns nil if that
// is not yet what was read from the log.
func (r *reader[T]) readRows(ctx context.Context, t *table) (*chunk[T], error) {
	c := &chunk[T]{of: t, at: make(map[string]int)}
	err := pgx.BeginTxFunc(ctx, r.control, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var text string
		if err := tx.QueryRow(ctx, "select pg_catalog.pg_current_snapshot()::text").Scan(&text); err != nil {
			return err
		}
		var err error
		if c.sees, err = parseSnapshot(text); err != nil {
			return err
		}
		if !r.pos.begun(t) && !r.settled.seenBy(&c.sees) {
			c = nil
			return nil
		}
		for xid := range r.seen {
			if int32(xid-c.sees.min) < 0 {
				delete(r.seen, xid) // every later snapshot sees it
			} else if !c.sees.has(xid) {
				c = nil
				return nil
			}
		}
		return r.query(ctx, tx, c)
	})
	return c, err
}

// unseenQuery counts transactions whose commit is in the log and not visible yet, because they
// wait for a standby.
const unseenQuery = `
select pg_catalog.current_setting('synchronous_standby_names') <> '' and not pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
	(select count(*) from pg_catalog.pg_stat_activity where wait_event = 'SyncRep')`

// unseen reports whether transactions may be before the cursor that a snapshot does not see.
func (r *reader[T]) unseen(ctx context.Context) (bool, error) {
	var hidden bool
	var waiting int
	if err := r.control.QueryRow(ctx, unseenQuery).Scan(&hidden, &waiting); err != nil {
		return false, err
	}
	if hidden {
		return false, dataflow.Permanent(errors.New("the server has synchronous standbys, and the role may not see who waits for them, which a load needs to go on: grant pg_read_all_stats to it"))
	}
	return waiting > 0, nil
}

// query reads the rows of a chunk.
func (r *reader[T]) query(ctx context.Context, tx pgx.Tx, c *chunk[T]) error {
	sql, args, limit, err := r.chunkQuery(c.of)
	if err != nil {
		return err
	}
	result := tx.Conn().PgConn().ExecParams(ctx, sql, args, nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	c.rel, c.last = &relation[T]{}, len(result.Rows) < limit
	if len(result.Rows) == 0 {
		return nil
	}
	if err := r.describe(ctx, c, result.FieldDescriptions); err != nil {
		return err
	}
	for _, values := range result.Rows {
		row := chunkRow{tuple: tuple{values: values}}
		for _, at := range c.rel.keyAt {
			row.key = append(row.key, string(values[at]))
		}
		c.at[c.rel.key(row.tuple)] = len(c.rows)
		c.rows = append(c.rows, row)
	}
	return nil
}

// chunkQuery returns the statement that reads the next rows of a table.
func (r *reader[T]) chunkQuery(t *table) (sql string, args [][]byte, limit int, err error) {
	quoteAll := func(names []string) []string {
		list := make([]string, len(names))
		for i, name := range names {
			list[i] = pgx.Identifier{name}.Sanitize()
		}
		return list
	}
	keys := strings.Join(quoteAll(t.key), ", ")
	sql = "select " + strings.Join(quoteAll(t.columns), ", ") + " from "
	if t.kind != "p" {
		sql += "only "
	}
	sql += t.sql + " where true"
	if t.filter != "" {
		sql += " and (" + t.filter + ")"
	}
	if r.pos.After != nil && r.pos.Table == t.name {
		if len(r.pos.After) != len(t.key) {
			return "", nil, 0, dataflow.Permanent(fmt.Errorf("the cursor's key has %d values, and the table's key (%s) has %d: begin anew: dataflow cursor set FLOW --beginning", len(r.pos.After), strings.Join(t.key, ", "), len(t.key)))
		}
		marks := make([]string, len(t.key))
		for i, value := range r.pos.After {
			marks[i] = "$" + strconv.Itoa(i+1)
			args = append(args, []byte(value))
		}
		sql += " and (" + keys + ") > (" + strings.Join(marks, ", ") + ")"
	}
	limit = cmp.Or(r.s.options.ChunkSize, defaultChunk)
	return sql + " order by " + keys + " limit " + strconv.Itoa(limit), args, limit, nil
}

// describe describes the rows of a chunk as the log would.
func (r *reader[T]) describe(ctx context.Context, c *chunk[T], fields []pgconn.FieldDescription) error {
	m := &pglogrepl.RelationMessage{RelationID: c.of.oid, ReplicaIdentity: 'd'}
	m.Namespace, m.RelationName, _ = strings.Cut(c.of.name, ".")
	for _, f := range fields {
		column := &pglogrepl.RelationMessageColumn{Name: f.Name, DataType: f.DataTypeOID, TypeModifier: f.TypeModifier}
		if slices.Contains(c.of.key, f.Name) {
			column.Flags = 1
		}
		m.Columns = append(m.Columns, column)
	}
	described := r.described[c.of.name]
	rel, err := r.relation(ctx, m)
	if err != nil {
		return err
	}
	if r.described[c.of.name] = described; described == nil {
		delete(r.described, c.of.name)
	}
	if len(rel.keyAt) != len(c.of.key) {
		return dataflow.Permanent(fmt.Errorf("publication %q does not send the key (%s): alter its list of columns", r.s.options.Publication, strings.Join(c.of.key, ", ")))
	}
	c.rel = rel
	return nil
}

// changed notes a change of a row that a transaction has made. What the snapshot does not see
// replaces the row of the chunk.
func (c *chunk[T]) changed(xid uint32, rel *relation[T], op pgtable.ChangeOp, before tuple, after *tuple) {
	if c == nil || rel.of != c.of || c.sees.has(xid) {
		return
	}
	if len(rel.keyAt) != len(c.of.key) || op != pgtable.ChangeInsert && !rel.tells(c.of.key) {
		c.unclear = true
		return
	}
	old := before
	if old.values == nil {
		old = *after
	}
	if i, ok := c.at[rel.key(old)]; ok {
		if row := &c.rows[i]; !row.gone {
			row.gone = true
			c.complete(rel, after, row.tuple)
		}
	}
	if after.values == nil {
		return
	}
	if i, ok := c.at[rel.key(*after)]; ok {
		c.rows[i].gone = true
	}
}

// complete takes the values that an update does not carry from the row of the chunk.
func (c *chunk[T]) complete(rel *relation[T], after *tuple, row tuple) {
	for i, absent := range after.absent {
		if !absent {
			continue
		}
		if at := slices.Index(c.rel.columns, rel.columns[i]); at >= 0 {
			after.values[i], after.absent[i] = row.values[at], false
		}
	}
}

// truncated notes that a transaction has removed all rows.
func (c *chunk[T]) truncated(xid uint32, t *table) {
	if c == nil || t != c.of || c.sees.has(xid) {
		return
	}
	for i := range c.rows {
		c.rows[i].gone = true
	}
}

// giveChunk yields what is left of a chunk. Its end is a resume point.
func (r *reader[T]) giveChunk() error {
	c := r.chunk
	r.chunk = nil
	for i := range c.rows {
		row := &c.rows[i]
		if row.gone {
			continue
		}
		item := change[T]{Key: c.of.name + " " + strings.Join(row.key, ", "), Value: pgtable.Change[T]{
			Op: pgtable.ChangeInsert, Table: c.of.name, Loading: true, Absent: c.rel.missing, Identity: c.of.key,
		}}
		err := c.rel.decode(&item.Value.New, row.tuple, false)
		if err != nil {
			err = &dataflow.RecordError{Stage: dataflow.StageRead, Key: item.Key, Raw: c.rel.raw(tuple{}, row.tuple), Err: fmt.Errorf("load table %s: %w", c.of.name, err)}
		}
		if err := r.give(item, err); err != nil {
			return err
		}
	}
	if n := len(c.rows); n > 0 {
		r.pos.Table, r.pos.TableID, r.pos.After = c.of.name, c.of.partID(), c.rows[n-1].key
	}
	if c.last {
		r.pos.load(c.of)
	}
	if !r.yield(change[T]{Mark: true, Cursor: r.pos}, nil) {
		return errEnough
	}
	return nil
}

// raw returns a bad row as JSON.
func (rel *relation[T]) raw(before, after tuple) json.RawMessage {
	row := after
	if row.values == nil {
		row = before
	}
	texts := make(map[string]any, len(rel.columns))
	for i, name := range rel.columns {
		switch {
		case row.absent != nil && row.absent[i]:
		case row.values[i] == nil:
			texts[name] = nil
		default:
			texts[name] = string(row.values[i])
		}
	}
	raw, err := json.Marshal(texts)
	if err != nil {
		return nil
	}
	return raw
}
