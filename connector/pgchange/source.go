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
	"github.com/jackc/pgx/v5/pgtype"

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
		if req.Backfill {
			yield(change[T]{}, dataflow.Permanent(fmt.Errorf("slot %q: a stream of changes cannot be backfilled, because the log is read once: to load all again, drop the slot, and begin at the beginning: dataflow cursor set FLOW --beginning", s.options.Slot)))
			return
		}
		r := s.newReader(req, yield)
		err := r.read(ctx, req)
		r.close(ctx)
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
	if at.Creating {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.announced != nil {
			close(s.announced)
			s.announced = nil
		}
		return nil
	}
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

// tell writes a line to the run's log, once in this process. A preview has no log: it leaves the line to the run.
func (s *stream) tell(ctx context.Context, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[text] || !notes.Logs(ctx) {
		return
	}
	if s.told == nil {
		s.told = make(map[string]bool)
	}
	s.told[text] = true
	notes.Info(ctx, text, slog.String("slot", s.options.Slot))
}

func (s *source[T]) newReader(req dataflow.Request[Position], yield func(change[T], error) bool) *reader[T] {
	r := &reader[T]{s: s, yield: yield, pos: req.From, resumed: req.Resumed}
	r.decoding = decoding[T]{relations: make(map[uint32]*relation[T]), described: make(map[string]*relation[T]), bases: make(map[uint32]uint32), noMoney: make(map[uint32]bool)}
	return r
}

// read reads until ctx is done, or an error. A preview ends when it has read all there is.
func (r *reader[T]) read(ctx context.Context, req dataflow.Request[Position]) (err error) {
	s := r.s
	s.confirmed.Store(0) // of another server, perhaps
	if r.control, err = s.control(ctx); err != nil {
		return err
	}
	r.types = pgtype.NewMap() // not the connection's, which another goroutine uses
	published, err := s.lookUp(ctx, r.control)
	if err != nil {
		return err
	}
	r.pos.publish(published.id)
	r.published, r.checked = *published, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if err := r.checkColumns(ctx); err != nil {
		return err
	}
	if err := s.tellPartitions(ctx, r.control, r.tables); err != nil {
		return err
	}
	if req.Preview && (r.isNew() || r.pos.unloaded(r.tables) != nil) {
		return r.previewRows(ctx)
	}
	if err := r.connect(ctx, req.Preview); err != nil {
		return err
	}
	if err := r.renew(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

// isNew reports whether nothing was read yet.
func (r *reader[T]) isNew() bool { return !r.resumed || r.pos.Creating }

// connect begins to stream. A stream that is new creates the slot.
func (r *reader[T]) connect(ctx context.Context, preview bool) error {
	s := r.s
	conn, err := s.replication(ctx)
	if err != nil {
		return err
	}
	r.receiver = &receiver{conn: conn, ended: make(chan struct{}), cancel: func() {}, confirmed: func() LSN { return 0 }}
	close(r.receiver.ended) // it has not begun
	if err := s.checkServer(ctx, conn, r.control, &r.pos, r.isNew()); err != nil {
		return err
	}
	if r.isNew() {
		if err := r.makeSlot(ctx); err != nil {
			return err
		}
	} else { // also before start, which may end another's connection
		confirmed, err := s.ownSlot(ctx, r.control)
		if err == nil {
			err = s.checkMoved(confirmed, r.pos.LSN)
		}
		if err != nil {
			return err
		}
	}
	if err := s.start(ctx, conn, r.control, r.pos.begins(), preview); err != nil {
		return err
	}
	// Nobody else moves the slot from here on.
	confirmed, err := s.ownSlot(ctx, r.control)
	if err != nil {
		return err
	}
	if err := s.checkMoved(confirmed, r.pos.LSN); err != nil {
		return err
	}
	if confirmed < r.pos.Sent && !r.pos.SentAt.IsZero() { // no transaction is where a slot began
		r.expects = r.pos.Sent
	}
	if preview {
		var text string
		if err := r.control.QueryRow(ctx, "select pg_catalog.pg_current_wal_flush_lsn()::text").Scan(&text); err != nil {
			return fmt.Errorf("look up the end of the log: %w", err)
		}
		if err := r.until.UnmarshalText([]byte(text)); err != nil {
			return err
		}
	}
	r.receiver = receive(ctx, conn, func() LSN { return max(confirmed, LSN(s.confirmed.Load())) }, preview || s.loading(r))
	return nil
}

// makeSlot creates the slot, after a checkpoint that says so is committed. So a slot that is
// there without such a checkpoint is another reader's.
func (r *reader[T]) makeSlot(ctx context.Context) error {
	s := r.s
	if !r.pos.Creating {
		if err := s.reserve(ctx, r.control); err != nil {
			return err
		}
	}
	confirmed, exists, err := s.slot(ctx, r.control)
	if err != nil {
		return err
	}
	if !r.pos.Creating {
		if exists {
			return s.notOurs(confirmed)
		}
		if err := r.announce(ctx); err != nil {
			return err
		}
	}
	if !exists {
		if confirmed, err = s.createSlot(ctx, r.control); err != nil {
			return err
		}
	}
	r.pos.LSN, r.pos.Sent, r.pos.Creating, r.begins = confirmed, confirmed, false, true
	return nil
}

// announce waits until a checkpoint is committed that says that the slot is to be created.
func (r *reader[T]) announce(ctx context.Context) error {
	announced := make(chan struct{})
	r.s.mu.Lock()
	r.s.announced = announced
	r.s.mu.Unlock()
	r.pos.Creating = true
	if err := r.endBatch(); err != nil {
		return err
	}
	select {
	case <-announced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// renew finds the tables of which changes may be missing. Their rows in the target are to be
// removed, and they are loaded again. As all tables may have the same target, so are the others.
func (r *reader[T]) renew(ctx context.Context) error {
	moved := r.leave(ctx)
	var begun []*table
	anew := len(moved) > 0
	for _, t := range r.tables {
		if r.pos.replaced(t) {
			anew = true
			r.s.tell(ctx, fmt.Sprintf("table %s was made anew, or the stream left it out for a while, or publication %q was altered: %s", t.name, r.s.options.Publication, r.consequence()))
		}
		if r.pos.isLoaded(t) || r.s.options.OnlyChanges {
			r.pos.load(t) // perhaps its oid was not known yet
		}
		if r.pos.begun(t) {
			begun = append(begun, t)
		}
	}
	if !anew || r.s.options.OnlyChanges {
		return nil
	}
	for _, t := range begun {
		r.pos.unload(t)
		moved = append(moved, t)
	}
	for i, t := range moved {
		item := change[T]{Key: t.name + " anew " + t.id, Value: pgtable.Change[T]{Op: pgtable.ChangeTruncate, Table: t.name, Loading: true}}
		if i == len(moved)-1 {
			item.Resume, item.Cursor = true, r.pos
		}
		if err := r.give(item, nil); err != nil {
			return err
		}
	}
	return nil
}

// leave notes which tables are not read any more. It returns those whose rows come by other names now:
// changes of these may be missing in between.
func (r *reader[T]) leave(ctx context.Context) (moved []*table) {
	var names []string
	if !r.s.options.OnlyChanges {
		names = r.pos.moved(r.tables)
	}
	for _, name := range r.pos.leave(r.tables) {
		if slices.Contains(names, name) {
			r.s.tell(ctx, fmt.Sprintf("table %s is not read by this name any more: it was renamed, or publication %q was altered. Its rows in the target are removed, and all tables are loaded again", name, r.s.options.Publication))
			t := &table{name: name}
			r.pos.unload(t)
			moved = append(moved, t)
			continue
		}
		r.s.tell(ctx, fmt.Sprintf("table %s is not read any more: Options.Tables or publication %q leaves it out, or it was dropped or renamed. Its rows stay in the target. If it returns, all tables are loaded again", name, r.s.options.Publication))
	}
	return moved
}

// consequence says what renew does about a table of which changes may be missing.
func (r *reader[T]) consequence() string {
	if r.s.options.OnlyChanges {
		return "what was in it before, or was changed meanwhile, is not read"
	}
	return "its rows in the target are removed, and it is loaded again"
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
		case !r.pos.isLoaded(t):
			return dataflow.Permanent(fmt.Errorf("table %s has no column %q that publication %q sends: columns of the record: correct the field's db tag, or leave it out with `db:\"-\"`. Postgres sends generated columns only from 18 on, and only if the publication says so; a publication may also list columns", t.name, missing, r.s.options.Publication))
		default:
			r.s.tell(ctx, fmt.Sprintf("table %s has no column %q any more: its changes go on without it: take the field out of the record", t.name, missing))
		}
	}
	return nil
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
	dataflow.LogLagger[Position]
	dataflow.Lagger[Position]
	dataflow.Examiner
	dataflow.CursorExaminer[Position]
	dataflow.Validator
	dataflow.Describer
} = (*source[struct{ ID int64 }])(nil)

// reader is one read of a source.
type reader[T any] struct {
	s        *source[T]
	yield    func(change[T], error) bool
	control  *pgx.Conn
	receiver *receiver
	resumed  bool
	published
	begins bool // the slot was just created
	// expects is the commit that must be sent again, or the server has another log than the cursor. 0: none.
	expects LSN
	until   LSN // where a preview ends, 0 for no preview
	batching
	decoding[T]

	pos Position // up to where all was yielded, at the end of a transaction
	tx  transaction
	// held is the last change, until it is known whether its transaction ends with it.
	held    change[T]
	heldErr error
	holds   bool

	checked time.Time // when the publication was looked at last
	check   bool      // it may have been altered
	settled settled

	chunk     *chunk[T]
	chunkRows int             // that the next one has, 0 if it is not known yet
	tried     time.Time       // when a chunk was read last
	seen      map[uint32]bool // transactions that were read while a table is loaded
}
