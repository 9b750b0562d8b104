package pgchange

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

const (
	closeTimeout = time.Second
	// A transaction has a resume point after so many changes or bytes, so that memory is bounded.
	partChanges = 10_000
	partBytes   = 8 << 20
	// A batch ends when nothing more waits, and so much time has passed since the last change, or
	// since its first.
	quietAfter = 50 * time.Millisecond
	oldAfter   = 250 * time.Millisecond
	idleEvery  = 5 * time.Second // a checkpoint without changes
	skipEvery  = time.Second     // and one among changes that are not read
	endsBatch  = 10              // marks in a row, which end a batch
)

var errStreamEnded = errors.New("the server has ended the stream")

// decoding is what a reader knows about tables.
type decoding[T any] struct {
	types     *pgtype.Map
	bases     map[uint32]uint32 // the types by which others are decoded
	noMoney   map[uint32]bool   // types that pgx does not know, and whose texts are the same in all sessions
	relations map[uint32]*relation[T]
	described map[string]*relation[T] // by name
}

// batching says when the reader ends a batch.
type batching struct {
	waits    bool // something was yielded that may wait in a batch
	first    time.Time
	lastMark time.Time
}

// transaction is the one that is read.
type transaction struct {
	open    bool
	xid     uint32
	commit  LSN
	at      time.Time
	skipped bool  // all of it was read before
	skip    int64 // so many of its changes were read before
	changes int64 // that were read
	// since the last resume point:
	part, bytes int
	// of the change that is held:
	heldChanges int64
	heldAt      LSN
}

// run reads until ctx is done, or an error.
func (r *reader[T]) run(ctx context.Context) error {
	r.lastMark = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if r.begins {           // so that the slot's position is the cursor from the beginning
		if err := r.endBatch(); err != nil {
			return err
		}
	}
	for {
		if r.until > 0 && !r.tx.open && r.pos.LSN >= r.until {
			return nil // a preview has read all there was
		}
		if err := r.recheck(ctx); err != nil {
			return err
		}
		if err := r.load(ctx); err != nil {
			return err
		}
		p, err := r.next(ctx)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		r.receiver.took(p)
		switch {
		case p.err != nil:
			return r.s.streamError(ctx, r.control, p.err)
		case p.message == nil:
			if !r.tx.open && r.expects > 0 && p.reached > r.expects {
				return r.s.otherLog(r.expects, "is not sent")
			}
			if !r.tx.open && p.reached > r.pos.LSN && r.pos.Commit == 0 {
				r.pos.LSN, r.pos.At = p.reached, p.now.UTC()
			}
		default:
			if err := r.take(ctx, p); err != nil {
				return err
			}
		}
	}
}

// next returns the next packet. While there is none, it ends batches. It returns nil if it has
// done so.
func (r *reader[T]) next(ctx context.Context) (*packet, error) {
	select {
	case p, ok := <-r.receiver.packets:
		return r.taken(ctx, p, ok)
	default:
	}
	wait := time.Until(r.lastMark.Add(idleEvery))
	switch {
	case r.tx.open:
		wait = idleEvery
	case r.waits:
		wait = min(quietAfter, time.Until(r.first.Add(oldAfter)))
	case r.chunk != nil || r.settled.waits:
		wait = quietAfter
	}
	if r.check {
		wait = min(wait, recheckSoon)
	}
	t := time.NewTimer(max(wait, 0))
	defer t.Stop()
	select {
	case p, ok := <-r.receiver.packets:
		return r.taken(ctx, p, ok)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		if r.tx.open || !r.waits && time.Since(r.lastMark) < idleEvery {
			return nil, nil //nolint:nilnil // as the comment says
		}
		return nil, r.endBatch()
	}
}

func (r *reader[T]) taken(ctx context.Context, p packet, ok bool) (*packet, error) {
	if !ok {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errStreamEnded
	}
	return &p, nil
}

// endBatch yields marks, which end a batch.
func (r *reader[T]) endBatch() error {
	for range endsBatch {
		if !r.yield(change[T]{Mark: true, Cursor: r.pos}, nil) {
			return errEnough
		}
	}
	r.waits, r.lastMark = false, time.Now() //nolint:forbidigo // how long it takes, not what time it is
	return nil
}

// give yields a change.
func (r *reader[T]) give(item change[T], err error) error {
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if !r.yield(item, err) {
		return errEnough
	}
	if now := time.Now(); !r.waits || now.Sub(began) > time.Millisecond { //nolint:forbidigo // else a batch may have ended
		r.waits, r.first = true, now
	}
	return nil
}

// take reads a message of the log.
func (r *reader[T]) take(ctx context.Context, p *packet) error {
	switch m := p.message.(type) {
	case *pglogrepl.BeginMessage:
		return r.begin(m)
	case *pglogrepl.CommitMessage:
		return r.commit(m)
	case *pglogrepl.RelationMessage:
		rel, err := r.relation(ctx, m)
		if err != nil {
			return err
		}
		r.relations[m.RelationID], r.check = rel, true
	case *pglogrepl.InsertMessage:
		return r.row(ctx, p, m.RelationID, pgtable.ChangeInsert, nil, m.Tuple, false)
	case *pglogrepl.UpdateMessage:
		return r.row(ctx, p, m.RelationID, pgtable.ChangeUpdate, m.OldTuple, m.NewTuple, m.OldTupleType == pglogrepl.UpdateMessageTupleTypeKey)
	case *pglogrepl.DeleteMessage:
		return r.row(ctx, p, m.RelationID, pgtable.ChangeDelete, m.OldTuple, nil, m.OldTupleType == pglogrepl.DeleteMessageTupleTypeKey)
	case *pglogrepl.TruncateMessage:
		return r.truncate(p, m)
	}
	return nil
}

func (r *reader[T]) begin(m *pglogrepl.BeginMessage) error {
	r.tx = transaction{open: true, xid: m.Xid, commit: LSN(m.FinalLSN), at: m.CommitTime}
	switch sent := r.pos.Sent; {
	case r.expects > 0 && r.tx.commit > r.expects:
		return r.s.otherLog(r.expects, "is not sent")
	case r.tx.commit < r.pos.LSN && sent > 0 && r.tx.commit > sent:
		return r.s.otherLog(r.tx.commit, "was not sent before")
	case r.tx.commit == r.expects && !m.CommitTime.Equal(r.pos.SentAt):
		return r.s.otherLog(r.expects, "is another one")
	case r.tx.commit == r.expects:
		r.expects = 0
	}
	switch {
	case r.tx.commit < r.pos.LSN:
		r.tx.skipped = true
	case r.pos.Commit == 0:
	case r.tx.commit == r.pos.Commit:
		r.tx.skip = r.pos.Changes
	default:
		return r.differs("it is not sent")
	}
	return nil
}

// differs is the error of a transaction that was read in part, and is not the same now.
func (r *reader[T]) differs(how string) error {
	return r.s.lost(fmt.Sprintf("the transaction with the commit %s was read up to its change %d, and now %s: the publication was changed meanwhile", r.pos.Commit, r.pos.Changes, how))
}

func (r *reader[T]) commit(m *pglogrepl.CommitMessage) error {
	tx := r.tx
	r.tx = transaction{}
	if tx.skipped {
		return nil
	}
	if tx.changes < tx.skip {
		return r.differs(fmt.Sprintf("it has %d changes", tx.changes))
	}
	r.pos.LSN, r.pos.At = LSN(m.TransactionEndLSN), tx.at.UTC()
	r.pos.Sent, r.pos.SentAt = tx.commit, r.pos.At
	if r.holds {
		r.pos.Last = r.pos.At
	}
	r.pos.Commit, r.pos.Changes, r.pos.Change = 0, 0, 0
	if r.s.loading(r) {
		if r.seen == nil {
			r.seen = make(map[uint32]bool)
		}
		r.seen[tx.xid] = true
	}
	if r.holds {
		return r.release(true, r.pos)
	}
	// The transaction has nothing for the target, and neither may the next ones. Yet the cursor moves,
	// and what waits in a batch is not to wait for them.
	if r.waits && time.Since(r.first) > oldAfter || time.Since(r.lastMark) > skipEvery {
		return r.endBatch()
	}
	return nil
}

// release yields the change that is held.
func (r *reader[T]) release(resume bool, at Position) error {
	if !r.holds {
		return nil
	}
	item, err := r.held, r.heldErr
	r.held, r.heldErr, r.holds = change[T]{}, nil, false
	item.Resume = resume
	if resume {
		item.Cursor = at
	}
	return r.give(item, err)
}

// counted counts a change. It returns false if the change was read before.
func (r *reader[T]) counted(p *packet) (bool, error) {
	if r.tx.skipped {
		return false, nil
	}
	r.tx.changes++
	if r.tx.changes == r.tx.skip && r.pos.Change != p.at {
		return false, r.differs("that change is at " + p.at.String() + ", not at " + r.pos.Change.String())
	}
	return r.tx.changes > r.tx.skip, nil
}

// hold yields the change before, and holds this one. In a large transaction, the one before
// may be a resume point.
func (r *reader[T]) hold(p *packet, item change[T], err error) error {
	at := r.pos
	resume := r.tx.part >= partChanges || r.tx.bytes >= partBytes
	if resume {
		at.Commit, at.Changes, at.Change = r.tx.commit, r.tx.heldChanges, r.tx.heldAt
		r.tx.part, r.tx.bytes = 0, 0
	}
	if err := r.release(resume, at); err != nil {
		return err
	}
	r.tx.part++
	r.tx.bytes += p.size
	r.tx.heldChanges, r.tx.heldAt = r.tx.changes, p.at
	item.Key = r.tx.commit.String() + "/" + strconv.FormatInt(r.tx.changes, 10)
	var bad *dataflow.RecordError
	if errors.As(err, &bad) {
		bad.Key = item.Key
	}
	r.held, r.heldErr, r.holds = item, err, true
	return nil
}

// row reads a change of a row.
func (r *reader[T]) row(ctx context.Context, p *packet, id uint32, op pgtable.ChangeOp, old, now *pglogrepl.TupleData, keyOnly bool) error {
	rel := r.relations[id]
	if rel == nil {
		return fmt.Errorf("slot %q: the server sent a change of relation %d, which it has not described", r.s.options.Slot, id)
	}
	fresh, err := r.counted(p)
	if err != nil || !fresh || rel.of == nil || !r.follows(rel.of) {
		return err
	}
	before, after := readTuple(old), readTuple(now)
	if before.values != nil {
		rel.fill(&after, before, keyOnly)
	}
	r.chunk.changed(r.tx.xid, rel, op, before, &after)
	gone, err := r.fetch(ctx, rel, op, before, &after)
	if err != nil {
		return err
	}
	item := change[T]{Value: pgtable.Change[T]{
		Op: op, Table: rel.of.name, Identity: rel.identity, Loading: !r.pos.isLoaded(rel.of),
		LSN: uint64(r.tx.commit), CommittedAt: r.tx.at,
	}}
	c := &item.Value
	if before.values != nil {
		c.Old = new(T)
		err = rel.decode(c.Old, before, keyOnly)
	}
	if err == nil && after.values != nil {
		if c.Absent = rel.absent(after); gone { // the target may have no such row, which needs some value
			c.Absent = rel.missing
		}
		err = rel.decode(&c.New, after, false)
	}
	if err != nil {
		err = &dataflow.RecordError{Stage: dataflow.StageRead, Raw: rel.raw(before, after), Err: fmt.Errorf("%s of table %s: %w", op, rel.of.name, err)}
	}
	return r.hold(p, item, err)
}

// truncate reads a truncate, which may be of several tables.
func (r *reader[T]) truncate(p *packet, m *pglogrepl.TruncateMessage) error {
	for _, id := range m.RelationIDs {
		rel := r.relations[id]
		fresh, err := r.counted(p)
		if err != nil {
			return err
		}
		if !fresh || rel == nil || rel.of == nil || !r.follows(rel.of) {
			continue
		}
		r.chunk.truncated(r.tx.xid, rel.of)
		item := change[T]{Value: pgtable.Change[T]{
			Op: pgtable.ChangeTruncate, Table: rel.of.name, Loading: !r.pos.isLoaded(rel.of),
			LSN: uint64(r.tx.commit), CommittedAt: r.tx.at,
		}}
		if err := r.hold(p, item, nil); err != nil {
			return err
		}
	}
	return nil
}

// missingColumns returns the columns of T that a table does not publish.
func missingColumns[T any](t *table) ([]string, error) {
	fields := make([]pgconn.FieldDescription, len(t.columns))
	for i, c := range t.columns {
		fields[i] = pgconn.FieldDescription{Name: c, DataTypeOID: pgtype.TextOID, Format: pgtype.TextFormatCode}
	}
	d, err := pgtable.NewRowDecoder[T](pgtype.NewMap(), fields)
	if err != nil {
		return nil, err
	}
	return d.Missing(), nil
}
