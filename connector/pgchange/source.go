package pgchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/notes"
)

type change[T any] = dataflow.Item[pgtable.Change[T], Position]

// Read reads changes from a position, until ctx is done.
func (s *source[T]) Read(ctx context.Context, req dataflow.Request[Position]) iter.Seq2[change[T], error] {
	return func(yield func(change[T], error) bool) {
		if err := s.Validate(); err != nil {
			yield(change[T]{}, dataflow.Permanent(err))
			return
		}
		r, err := s.open(ctx, req)
		if err == nil {
			r.yield = yield
			err = r.run(ctx)
			r.close(ctx)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(change[T]{}, s.explain(ctx, err))
		}
	}
}

// errEnough says that no more is wanted.
var errEnough = errors.New("no more is wanted")

// explain marks errors that should go away by themselves.
func (s *stream) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil || dataflow.IsPermanent(err) {
		return err
	}
	var network net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &network) || errors.Is(err, errStreamEnded) || s.passes(err) {
		return dataflow.Transient(err)
	}
	return err
}

// passes asks the Postgres driver, whatever the client's own driver is.
func (s *stream) passes(err error) bool {
	store, serr := dataflowpgx.New(s.pool).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err).Passes()
}

// Committed notes that everything up to a position is committed in the target. The slot hears
// it within a second.
func (s *source[T]) Committed(_ context.Context, at Position) error {
	s.confirm(at.LSN)
	return nil
}

func (s *stream) confirm(at LSN) {
	for {
		now := s.confirmed.Load()
		if uint64(at) <= now || s.confirmed.CompareAndSwap(now, uint64(at)) {
			return
		}
	}
}

// tell writes a line to the run's log, once in this process.
func (s *stream) tell(ctx context.Context, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[text] {
		return
	}
	if s.told == nil {
		s.told = make(map[string]bool)
	}
	s.told[text] = true
	notes.Info(ctx, text, slog.String("slot", s.options.Slot))
}

// open connects, checks the slot and the server, and begins to stream.
func (s *source[T]) open(ctx context.Context, req dataflow.Request[Position]) (_ *reader[T], err error) {
	s.confirmed.Store(0) // of another server, perhaps
	r := &reader[T]{s: s, pos: req.From, resumed: req.Resumed}
	r.decoding = decoding[T]{relations: make(map[uint32]*relation[T]), described: make(map[string]*relation[T]), bases: make(map[uint32]uint32)}
	defer func() {
		if err != nil {
			r.close(ctx)
		}
	}()
	if r.control, err = s.control(ctx); err != nil {
		return nil, err
	}
	r.types = r.control.TypeMap()
	if r.tables, err = s.lookUp(ctx, r.control); err != nil {
		return nil, err
	}
	if err := r.checkColumns(ctx); err != nil {
		return nil, err
	}
	confirmed, err := s.ensureSlot(ctx, r.control, req.Resumed)
	if err != nil {
		return nil, err
	}
	conn, err := s.replication(ctx)
	if err != nil {
		return nil, err
	}
	r.receiver = &receiver{conn: conn, ended: make(chan struct{}), cancel: func() {}, confirmed: func() LSN { return 0 }}
	close(r.receiver.ended) // it has not begun
	if err := s.checkServer(ctx, conn, &r.pos, req.Resumed); err != nil {
		return nil, err
	}
	if !req.Resumed {
		r.pos.LSN = confirmed
	}
	if err := s.start(ctx, conn, r.control, r.pos.LSN); err != nil {
		return nil, err
	}
	// Nobody else moves the slot from here on.
	if confirmed, err = s.ensureSlot(ctx, r.control, true); err != nil {
		return nil, err
	}
	if confirmed > r.pos.LSN {
		return nil, s.lost(fmt.Sprintf("it has confirmed %s, which is after the cursor %s: somebody else has read it, or it was made anew", confirmed, r.pos.LSN))
	}
	r.receiver = receive(ctx, conn, func() LSN { return max(confirmed, LSN(s.confirmed.Load())) })
	if s.options.OnlyChanges {
		for _, t := range r.tables {
			r.loaded(t)
		}
	}
	return r, nil
}

// checkColumns returns an error if a table lacks columns of T when it is read first. Later, a
// column may have been dropped.
func (r *reader[T]) checkColumns(ctx context.Context) error {
	for _, t := range r.tables {
		missing, err := missingColumns[T](t)
		switch {
		case err != nil:
			return dataflow.Permanent(err)
		case len(missing) == 0:
		case !slices.Contains(r.pos.Loaded, t.name):
			return dataflow.Permanent(fmt.Errorf("table %s has no column %q that publication %q sends: columns of the record: correct the field's db tag, or leave it out with `db:\"-\"`. Postgres sends generated columns only from 18 on, and only if the publication says so; a publication may also list columns", t.name, missing, r.s.options.Publication))
		default:
			r.s.tell(ctx, fmt.Sprintf("table %s has no column %q any more: its changes go on without it: take the field out of the record", t.name, missing))
		}
	}
	return nil
}

// loaded notes that a table needs no load any more.
func (r *reader[T]) loaded(t *table) {
	if !slices.Contains(r.pos.Loaded, t.name) {
		r.pos.Loaded = append(slices.Clone(r.pos.Loaded), t.name)
	}
	r.pos.Table, r.pos.After = "", nil
}

// close closes the connections.
func (r *reader[T]) close(ctx context.Context) {
	if r.receiver != nil {
		r.receiver.close(ctx)
	}
	if r.control != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = r.control.Close(closing)
	}
}

var _ interface {
	dataflow.Acker[Position]
	dataflow.Noter[Position]
	dataflow.Validator
	dataflow.Describer
} = (*source[struct{ ID int64 }])(nil)

// reader is one read of a source.
type reader[T any] struct {
	s        *source[T]
	yield    func(change[T], error) bool
	control  *pgx.Conn
	receiver *receiver
	tables   []*table
	resumed  bool
	batching
	decoding[T]

	pos Position // up to where all was yielded, at the end of a transaction
	tx  transaction
	// held is the last change, until it is known whether its transaction ends with it.
	held    change[T]
	heldErr error
	holds   bool

	chunk *chunk[T]
	tried time.Time       // when a chunk was read last
	seen  map[uint32]bool // transactions that were read while a table is loaded
}
