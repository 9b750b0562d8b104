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
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

const (
	// A chunk has about so many bytes, and so many rows, unless Options.ChunkSize says otherwise.
	chunkBytes   = 8 << 20
	defaultChunk = 1000 // the first one
	leastChunk   = 50
	mostChunk    = 20_000
	resumeRows   = 5000                  // in a chunk, between resume points
	valueBytes   = 24                    // that a value needs besides its text
	chunkAgain   = 20 * time.Millisecond // after which a chunk is read again that was read too early
)

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
		return r.giveChunk(ctx)
	}
	t := r.pos.unloaded(r.tables)
	r.receiver.hurry.Store(t != nil || r.until > 0)
	if t == nil || time.Since(r.tried) < chunkAgain {
		return nil
	}
	r.tried = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	c, err := r.firstChunk(ctx, t)
	if err != nil {
		return fmt.Errorf("load table %s: %w", t.name, err)
	}
	return r.pend(ctx, c)
}

// pend prepares a chunk that was read, nil for none, which waits for its place in the log.
func (r *reader[T]) pend(ctx context.Context, c *chunk[T]) error {
	if c == nil {
		return nil
	}
	if err := r.prepare(ctx, c); err != nil {
		return fmt.Errorf("load table %s: %w", c.of.name, err)
	}
	r.chunk, r.tried = c, time.Time{}
	return nil
}

// firstChunk is readChunk for the first chunk of this read, or of a table.
func (r *reader[T]) firstChunk(ctx context.Context, t *table) (*chunk[T], error) {
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
	c, err := r.readChunk(ctx, t)
	if c != nil {
		r.resumed = false
		r.pos.begin(t)
	}
	return c, err
}

// readChunk reads the next rows of a table. It returns nil if they must be read again: see readRows.
func (r *reader[T]) readChunk(ctx context.Context, t *table) (*chunk[T], error) {
	c, err := r.readRows(ctx, t)
	if err != nil || c == nil {
		return nil, err
	}
	var text string
	if err := r.control.QueryRow(ctx, "select pg_catalog.pg_logical_emit_message(true, 'dataflow', '')::text").Scan(&text); err != nil {
		return nil, fmt.Errorf("write a watermark to the log: %w", err)
	}
	at, err := pglogrepl.ParseLSN(text)
	c.until = LSN(at)
	return c, err
}

// readRows reads the next rows of a table, and what the query has seen. It returns nil if that
// is not yet what was read from the log, or if the table was written anew meanwhile.
func (r *reader[T]) readRows(ctx context.Context, t *table) (*chunk[T], error) {
	c := &chunk[T]{of: t}
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
		if err := r.query(ctx, tx, c); err != nil {
			return err
		}
		anew, err := rewritten(ctx, tx, t)
		if anew {
			c = nil
		}
		return err
	})
	return c, err
}

// rewrittenQuery reports whether a table, or a partition of it, has another file now than in the snapshot.
const rewrittenQuery = `
select coalesce(bool_or(pg_catalog.pg_relation_filenode(c.oid) is distinct from c.relfilenode), false) from pg_catalog.pg_class c
where c.relkind = 'r' and (c.oid = $1 or c.oid in (select relid from pg_catalog.pg_partition_tree($1::oid::regclass)))`

// rewritten reports whether a table was written anew after a transaction's snapshot, as by alter table … type,
// for which a query of it may have waited. To this snapshot the table seems empty.
func rewritten(ctx context.Context, tx pgx.Tx, t *table) (anew bool, err error) {
	if err := tx.QueryRow(ctx, rewrittenQuery, t.oid).Scan(&anew); err != nil {
		return false, fmt.Errorf("look whether the table was written anew: %w", err)
	}
	return anew, nil
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
	if waiting > 0 {
		r.s.tell(ctx, "the load of a table waits until a synchronous standby has confirmed what was committed: see pg_stat_activity for wait_event SyncRep")
	}
	return waiting > 0, nil
}

// query reads the rows of a chunk.
func (r *reader[T]) query(ctx context.Context, tx pgx.Tx, c *chunk[T]) error {
	sql, args, limit, err := r.chunkQuery(c.of)
	if err != nil {
		return err
	}
	c.limit = limit
	result := tx.Conn().PgConn().ExecParams(ctx, sql, args, nil, nil, nil)
	c.fields = slices.Clone(result.FieldDescriptions())
	var kept memory
	for result.NextRow() {
		c.rows = append(c.rows, chunkRow{values: kept.row(result.Values())})
	}
	_, err = result.Close()
	switch {
	case sqlstate.Has(err, "42P01", "42703"):
		return dataflow.Transient(fmt.Errorf("the table was altered while it was read: the read begins again: %w", err))
	case sqlstate.Has(err, "42501"):
		return fmt.Errorf("the role must be able to read all rows, whose changes the log has: grant it select on the table, and where row security hides rows from it, alter role … bypassrls: %w", err)
	}
	if n := len(c.rows); n > 0 {
		r.chunkRows = min(max(chunkBytes/max(kept.size/n, 1), leastChunk), mostChunk)
	}
	return err
}

// prepare describes the rows of a chunk.
func (r *reader[T]) prepare(ctx context.Context, c *chunk[T]) error {
	c.rel, c.last = &relation[T]{}, len(c.rows) < c.limit
	if len(c.rows) == 0 {
		return nil
	}
	return r.describe(ctx, c, c.fields)
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
	sql = "select " + strings.Join(quoteAll(t.columns), ", ") + " from " + t.only() + " where true"
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
	limit = cmp.Or(r.s.options.ChunkSize, r.chunkRows, defaultChunk)
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

// giveChunk yields what is left of a chunk. Meanwhile it reads the next one. The end of a chunk
// is a resume point, and so is every 5,000th row of it.
func (r *reader[T]) giveChunk(ctx context.Context) error {
	c := r.chunk
	r.chunk = nil
	pos := r.pos
	if n := len(c.rows); n > 0 {
		r.pos.Table, r.pos.TableID, r.pos.After = c.of.name, c.of.partID(), c.key(n-1)
	}
	if c.last {
		r.pos.load(c.of)
	}
	next := r.readAhead(ctx, c)
	defer next.end()
	names := c.names()
	for i := range c.rows {
		row := &c.rows[i]
		if row.gone {
			continue
		}
		item := change[T]{Key: names[i], Value: pgtable.Change[T]{
			Op: pgtable.ChangeInsert, Table: c.of.name, Loading: true, Absent: c.rel.missing, Identity: c.of.key,
		}}
		if i%resumeRows == resumeRows-1 {
			pos.Table, pos.TableID, pos.After = c.of.name, c.of.partID(), c.key(i)
			item.Resume, item.Cursor = true, pos
		}
		values := tuple{values: row.values}
		err := c.rel.decode(&item.Value.New, values, false)
		if err != nil {
			err = &dataflow.RecordError{Stage: dataflow.StageRead, Key: item.Key, Raw: c.rel.raw(tuple{}, values), Err: fmt.Errorf("load table %s: %w", c.of.name, err)}
		}
		if !r.yield(item, err) {
			return errEnough
		}
	}
	r.waits, r.first = true, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if !r.yield(change[T]{Mark: true, Cursor: r.pos}, nil) {
		return errEnough
	}
	if next.wait(); next.err != nil {
		return fmt.Errorf("load table %s: %w", c.of.name, next.err)
	}
	return r.pend(ctx, next.chunk)
}

// ahead is a chunk that is read while the one before is yielded. The log is not read
// meanwhile, so that all is as if it were read afterwards.
type ahead[T any] struct {
	cancel context.CancelFunc
	ended  chan struct{}
	chunk  *chunk[T]
	err    error
}

// readAhead begins to read the chunk after c, if there is one. Until it has ended, nobody else
// may use the connection.
func (r *reader[T]) readAhead(ctx context.Context, c *chunk[T]) *ahead[T] {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead[T]{cancel: cancel, ended: make(chan struct{})}
	if c.last || r.receiver == nil { // a preview
		close(a.ended)
		return a
	}
	go func() {
		defer close(a.ended)
		a.chunk, a.err = r.readChunk(ctx, c.of)
	}()
	return a
}

// wait waits for the chunk.
func (a *ahead[T]) wait() {
	<-a.ended
	a.cancel()
}

// end gives the chunk up, if it is not read yet.
func (a *ahead[T]) end() {
	a.cancel()
	<-a.ended
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
