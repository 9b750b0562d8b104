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
	// A chunk has about so many bytes, and so many rows, unless Options.ChunkSize says otherwise.
	chunkBytes   = 8 << 20
	defaultChunk = 1000 // the first one
	leastChunk   = 50
	mostChunk    = 20_000
	resumeRows   = 5000                  // in a chunk, between resume points
	valueBytes   = 24                    // that a value needs besides its text
	chunkAgain   = 20 * time.Millisecond // after which a chunk is read again that was read too early
)

// chunk is a part of a table that was read by a query, and waits until the log is read up to
// where it was read.
type chunk[T any] struct {
	of     *table
	limit  int
	fields []pgconn.FieldDescription
	sees   snapshot
	until  LSN // all that the snapshot sees was committed before
	rel    *relation[T]
	rows   []chunkRow
	at     map[string]int // the rows by their key; nil until one is looked for
	last   bool           // the table has no more rows
	// unclear says that a change of the table does not tell which row of the chunk it was of.
	unclear bool
}

type chunkRow struct {
	values [][]byte
	gone   bool // a newer change has taken its place
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

// readChunk reads the next rows of a table. It returns nil if the snapshot does not see yet
// what was read from the log.
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
// is not yet what was read from the log.
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
	if n := len(c.rows); n > 0 {
		r.chunkRows = min(max(chunkBytes/max(kept.size/n, 1), leastChunk), mostChunk)
	}
	return err
}

// memory keeps rows in few pieces.
type memory struct {
	bytes  []byte
	values [][]byte
	size   int // of all rows
}

const memoryPiece = 64 << 10

// row returns a copy of a row.
func (m *memory) row(row [][]byte) [][]byte {
	need := 0
	for _, value := range row {
		need += len(value)
	}
	m.size += need + valueBytes*len(row)
	if m.bytes == nil || cap(m.bytes)-len(m.bytes) < need { // an empty value is not nil
		m.bytes = make([]byte, 0, max(need, memoryPiece))
	}
	if cap(m.values)-len(m.values) < len(row) {
		m.values = make([][]byte, 0, max(len(row), memoryPiece/valueBytes))
	}
	first := len(m.values)
	for _, value := range row {
		if value == nil {
			m.values = append(m.values, nil)
			continue
		}
		at := len(m.bytes)
		m.bytes = append(m.bytes, value...)
		m.values = append(m.values, m.bytes[at:len(m.bytes):len(m.bytes)])
	}
	return m.values[first:len(m.values):len(m.values)]
}

// prepare describes the rows of a chunk.
func (r *reader[T]) prepare(ctx context.Context, c *chunk[T]) error {
	c.rel, c.last = &relation[T]{}, len(c.rows) < c.limit
	if len(c.rows) == 0 {
		return nil
	}
	return r.describe(ctx, c, c.fields)
}

// find returns the place of a row.
func (c *chunk[T]) find(key string) (at int, ok bool) {
	if c.at == nil {
		c.at = make(map[string]int, len(c.rows))
		for i := range c.rows {
			c.at[c.rel.key(tuple{values: c.rows[i].values})] = i
		}
	}
	at, ok = c.at[key]
	return at, ok
}

// key returns the key of row i, as a cursor has it.
func (c *chunk[T]) key(i int) []string {
	key := make([]string, len(c.rel.keyAt))
	for k, at := range c.rel.keyAt {
		key[k] = string(c.rows[i].values[at])
	}
	return key
}

// names returns the names of all rows.
func (c *chunk[T]) names() []string {
	var text []byte
	ends := make([]int, len(c.rows))
	for i := range c.rows {
		text = append(text, c.of.name...)
		for k, at := range c.rel.keyAt {
			if k > 0 {
				text = append(text, ',')
			}
			text = append(append(text, ' '), c.rows[i].values[at]...)
		}
		ends[i] = len(text)
	}
	all, names, from := string(text), make([]string, len(ends)), 0
	for i, end := range ends {
		names[i], from = all[from:end], end
	}
	return names
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
	if i, ok := c.find(rel.key(old)); ok {
		if row := &c.rows[i]; !row.gone {
			row.gone = true
			c.complete(rel, after, row.values)
		}
	}
	if after.values == nil {
		return
	}
	if i, ok := c.find(rel.key(*after)); ok {
		c.rows[i].gone = true
	}
}

// complete takes the values that an update does not carry from the row of the chunk.
func (c *chunk[T]) complete(rel *relation[T], after *tuple, row [][]byte) {
	for i, absent := range after.absent {
		if !absent {
			continue
		}
		if at := slices.Index(c.rel.columns, rel.columns[i]); at >= 0 {
			after.values[i], after.absent[i] = row[at], false
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
