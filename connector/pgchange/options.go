package pgchange

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// Options say which changes a stream reads.
type Options struct {
	// Publication is the publication that sends the changes. It must exist. Required.
	Publication string
	// Slot is the replication slot. The first read creates it, and refuses one that is there
	// already. A slot is for one flow. Required.
	Slot string
	// Tables are the tables of the publication to read, as "table", found by the search path,
	// or "schema.table". Empty: all tables of the publication. All of them must have the
	// columns of T. A partitioned table is named by its root, and its publication needs
	// publish_via_partition_root.
	//
	// A table that is added later is loaded then. So is one that was dropped and made anew, or
	// was not among Tables or not part of the publication for a while: the target first gets a
	// truncate of it, and of the other tables, which are loaded again too, because all may have
	// the same target. A table that inherits from one of these, and is no partition, is not read
	// unless it is named too, although `for table` of its parent publishes it.
	Tables []string
	// OnlyChanges leaves out the first load: only changes are read that are committed after
	// the slot was created.
	OnlyChanges bool
	// ChunkSize is how many rows the first load reads at a time. 0 is what fits into about
	// 8 MiB, between 50 and 20,000. Two chunks are kept in memory: the next one is read while
	// one is written.
	ChunkSize int
	// Failover creates the slot with failover, so that a standby keeps it too. It needs
	// Postgres 17 or later.
	Failover bool
}

// Stream reads the changes of tables from Postgres' log, by logical replication with
// pgoutput. First it loads the rows that are there; see [Options].OnlyChanges. pool leads to
// the tables' database, not through a pooler. The stream takes no connection of it, but opens
// two of its own with its settings. The caller closes the pool after the client has stopped.
//
// A read does not end, except by an error or as a preview. A preview makes no slot: before the
// first run it reads rows of the tables, and while a run reads the slot, it is refused.
func Stream[T any](pool *pgxpool.Pool, options Options) dataflow.Source[pgtable.Change[T], Position] {
	return &source[T]{stream{pool: pool, options: options}}
}

// stream is a source without the type of its records.
type stream struct {
	pool    *pgxpool.Pool
	options Options

	confirmed atomic.Uint64 // the LSN up to which all is committed in the target

	mu   sync.Mutex      // guards what follows
	told map[string]bool // what was said about tables that have changed
	// partitions of each partitioned table, by their oids, when this process looked last
	partitions map[uint32]map[uint32]partition
	announced  chan struct{} // closed when it is committed that the slot is to be created
}

// source reads changes of rows of type T.
type source[T any] struct{ stream }

// slotName is what Postgres accepts as the name of a slot.
var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// Validate checks the options.
func (s *source[T]) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	o := &s.options
	if s.pool == nil {
		bad("pool", "it is nil: create it with pgxpool.New")
	}
	if o.Publication == "" {
		bad("Options.Publication", "it is empty: name a publication (create publication … for table …)")
	}
	if !slotName.MatchString(o.Slot) {
		bad("Options.Slot", "%q is not the name of a slot: use up to 63 lower-case letters, digits and underscores", o.Slot)
	}
	for i, table := range o.Tables {
		if table == "" || slices.Contains(o.Tables[:i], table) {
			bad("Options.Tables", "table %d, %q, is empty or named twice", i+1, table)
		}
	}
	if o.ChunkSize < 0 {
		bad("Options.ChunkSize", "%d is negative: use 1 or more, or 0 for what fits into 8 MiB", o.ChunkSize)
	}
	if _, err := pgtable.NewRowDecoder[T](nil, nil); err != nil {
		bad("T", "%v", err)
	}
	return errors.Join(errs...)
}

// Describe names the publication and the slot.
func (s *stream) Describe() dataflow.Description {
	detail := map[string]any{"publication": s.options.Publication, "slot": s.options.Slot}
	if len(s.options.Tables) > 0 {
		detail["tables"] = s.options.Tables
	}
	return dataflow.Description{Type: "pgchange.stream", Detail: detail}
}
