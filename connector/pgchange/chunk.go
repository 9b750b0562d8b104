package pgchange

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/connector/pgtable"
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
