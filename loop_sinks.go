package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// replacesAll is why only a run can write to a target that is replaced as a whole.
const replacesAll = "the flow's target replaces all that is there by what one run writes"

// beginSink finds what writes the batches in the checkpoints' transactions: the target's
// TxSink, or the replacement that it begins.
func (w *batchWriter) beginSink(ctx context.Context) error {
	if !w.p.replaces() {
		if w.p.target.kind == toTx {
			w.setSink(w.p.target.sink)
		}
		return nil
	}
	err := w.a.commitAgain(ctx, step{seq: w.a.place.seq, writes: replacementBegin})
	w.a.chain.progressed = false // nothing was read: it is no progress
	return err
}

// beginReplacement begins to replace the target in a transaction.
func (p *flowCode) beginReplacement(ctx context.Context, flow string) (any, error) {
	var r any
	err := guard(func() (err error) {
		r, err = p.sink.beginReplacement(ctx, flow)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("begin to replace: %w", foreign(err))
	case isNil(r):
		return nil, Permanent(errors.New("begin to replace: the sink's BeginTx returned nothing to write to"))
	default:
		return r, nil
	}
}

// endReplacement puts what the attempt has written in place of what was there, after the
// last batch, if the target writes so.
func (w *batchWriter) endReplacement(ctx context.Context) error {
	if !w.p.replaces() {
		return nil
	}
	return w.a.commitAgain(ctx, step{seq: w.a.nextSeq(), writes: replacementEnd})
}

// replace ends the replacement in a transaction, unless somebody has cancelled the run by
// then: its rows must not be seen.
func (w *batchWriter) replace(ctx context.Context, tx Tx, q Queries, s *step) error {
	r, ok := w.txSink.(interface {
		EndTx(ctx context.Context) error
	})
	if !ok {
		return nil
	}
	end := func() error { return guard(func() error { return r.EndTx(ctx) }) }
	parts, can := w.txSink.(PartReplacement)
	whole := end
	if can {
		whole = func() error { return w.a.store.Savepoint(ctx, tx, end) }
	}
	err := whole()
	if err != nil && can && w.divisible(err) {
		w.letters = nil
		err = guard(func() error {
			return parts.EndPartsTx(ctx, func(e *RecordError) error {
				e.Stage = StageWrite
				s.delta.Written--
				return w.applyPolicy(ctx, e, atEnd, &s.delta)
			})
		})
		s.letters = w.letters
	}
	if err != nil {
		return fmt.Errorf("replace: %w", foreign(err))
	}
	claim, err := q.RunHeld(ctx, w.a.claimed, w.a.config.Lease)
	switch {
	case err != nil:
		return w.a.own(fmt.Errorf("replace: look at the run: %w", err))
	case claim == nil:
		return ErrFenced
	case claim.Run.CancelRequestedAt != nil:
		return errCancelled
	default:
		return w.resolveOthers(ctx, q)
	}
}

// writeTo writes the batch to a sink outside the database, before its checkpoint. If the
// sink refuses rows, and the flow has a policy, the others are written in parts.
func (w *batchWriter) writeTo(ctx context.Context, s step) error {
	n := w.rows.len()
	id, keys := w.batchID(s.cursor), outputKeys(w.batch, w.out.origin)
	d := &divider{w: w, delta: &s.delta, refusedOnce: map[int]bool{}}
	d.outside = func(ctx context.Context, from, to int) error {
		part := id
		if to-from < n { // it is another batch for the sink, and the same one after a retry
			part = fmt.Sprintf("%s-%d-%d", id, from+1, to)
		}
		var refuse func(row int, err error) error
		if w.a.flow.opts.OnBadRecord != nil {
			refuse = func(row int, err error) error {
				if row < 0 || row >= to-from {
					return fmt.Errorf("the sink refuses row %d of a batch of %d rows: %w", row, to-from, err)
				}
				return d.refused(ctx, from+row, err)
			}
		}
		return foreign(guard(func() error { return w.p.sink.write(ctx, part, w.rows, from, to, keys, refuse) }))
	}
	err := d.part(ctx, 0, n)
	switch {
	case d.failed != nil:
		return d.failed
	case err != nil && (refuseNone(w) || !w.divisible(err)):
		return w.writeError(0, n, err)
	case err != nil && w.out.origin[0] == w.out.origin[n-1]:
		err = d.refused(ctx, 0, err)
	case err != nil:
		err = d.divide(ctx, 0, n, err)
	}
	if err != nil {
		return err
	}
	s.letters = w.letters
	if w.mayResolve() {
		s.writes = rowsElsewhere
	}
	return w.a.commitAgain(ctx, s)
}

// refuseNone reports whether the flow has no policy: nothing is written in parts for it.
func refuseNone(w *batchWriter) bool { return w.a.flow.opts.OnBadRecord == nil }

// fencedRows are the rows of a batch that a FencedSink is given at once.
type fencedRows struct {
	from, to int  // in the batch's rows
	last     bool // they are the batch's last
	left     []int
}

// writeFenced writes the batch and its checkpoint to the sink, and then makes our
// checkpoint.
func (w *batchWriter) writeFenced(ctx context.Context, s step) error {
	return w.writeFencedPart(ctx, s, fencedRows{to: w.rows.len(), last: true})
}

// writeFencedPart writes a part of the batch that ends at s.cursor. The sink writes all of it
// or nothing, and that is what keeps a record from being written twice. So a row that it
// names is left out, and the rest is tried again. If it names none, the part is divided at a
// resume point, and each half is a step of its own.
func (w *batchWriter) writeFencedPart(ctx context.Context, s step, part fencedRows) error {
	ends := w.a.slice.ends
	w.a.slice.ends = ends && part.last
	defer func() { w.a.slice.ends = ends }()
	for {
		err := w.tryFenced(ctx, &s, part)
		if err == nil {
			if part.last && w.mayResolve() {
				s.writes = rowsElsewhere
			}
			return w.a.commitAgain(ctx, s)
		}
		named := part.named(err)
		if len(part.left) == part.to-part.from || refuseNone(w) && named == nil || !w.divisible(err) {
			return w.a.sinkFenced(ctx, w.writeError(part.from, part.to, err))
		}
		if named == nil {
			row, only := part.only(w.out.origin)
			switch {
			case !only:
				return w.halveFenced(ctx, s, part, err)
			case w.tooMuch(err):
				return w.writeError(part.from, part.to, err)
			}
			named = []refusedRow{{row, err}}
		}
		if err := w.leaveOut(ctx, &s, &part, named); err != nil {
			return err
		}
	}
}

// leaveOut asks the policy about refused rows, and leaves their records out of a part.
func (w *batchWriter) leaveOut(ctx context.Context, s *step, part *fencedRows, rows []refusedRow) error {
	d := divider{w: w, delta: &s.delta}
	for _, refused := range rows {
		if slices.Contains(part.left, refused.row) {
			continue // another row of its record was refused
		}
		if err := d.refused(ctx, refused.row, refused.err); err != nil {
			return err
		}
		first, end := d.siblings(part.from, part.to, refused.row)
		for i := first; i < end; i++ {
			part.left = append(part.left, i)
		}
	}
	return nil
}

// tryFenced hands a part to the sink.
func (w *batchWriter) tryFenced(ctx context.Context, s *step, part fencedRows) error {
	state, err := json.Marshal(sinkState{Cursor: s.cursor, Delta: s.delta, Seq: w.a.place.seq})
	if err != nil {
		return Permanent(fmt.Errorf("write the sink's checkpoint as JSON: %w", err))
	}
	// Before the sink: a crash between its commit and ours would lose the letters.
	if err := w.keepLetters(ctx); err != nil {
		return err
	}
	return guard(func() error {
		return w.p.sink.writeFenced(ctx, w.a.sinkName(), w.a.place.fence, state, w.rows, part.indexes())
	})
}

// halveFenced writes a part in two steps. All that is counted beside the rows of the second
// one belongs to the first.
func (w *batchWriter) halveFenced(ctx context.Context, s step, part fencedRows, cause error) error {
	middle, cursor, ok := w.resumePoint(part)
	if !ok {
		return w.writeError(part.from, part.to, fmt.Errorf("%w: the sink does not say which row it refuses, and the source has no resume point between them: let the sink return a *RowError", cause))
	}
	first, second := part, part
	first.to, second.from, first.last = middle, middle, false
	first.left, second.left = nil, nil
	for _, i := range part.left {
		if i < middle {
			first.left = append(first.left, i)
		} else {
			second.left = append(second.left, i)
		}
	}
	written := second.inputs(w.out.origin)
	one := s
	one.cursor, one.afterCommit, one.writes = cursor, nil, nothing
	one.delta.Read -= written
	one.delta.Written -= written
	again := min(written, w.batch.again.among(slices.Min(w.out.origin[second.from:second.to])))
	one.delta.ReadAgain -= again
	if err := w.writeFencedPart(ctx, one, first); err != nil {
		return err
	}
	two := s
	two.seq, two.delta = w.a.nextSeq(), Counters{Read: written, Written: written, ReadAgain: again}
	return w.writeFencedPart(ctx, two, second)
}

// resumePoint finds where to divide a part: after the rows of a record that is a resume
// point, as near to the middle as there is one. No row after it may be of that record or of
// one before, because a transform may yield its rows in another order.
func (w *batchWriter) resumePoint(part fencedRows) (row int, cursor json.RawMessage, ok bool) {
	origin := w.out.origin[part.from:part.to]
	first := slices.Clone(origin) // the first record of the rows from each row on
	for i := len(first) - 2; i >= 0; i-- {
		first[i] = min(first[i], first[i+1])
	}
	best, after, last, middle := 0, 0, origin[0], len(origin)/2
	for i := 1; i < len(origin); i++ {
		last = max(last, origin[i-1])
		if last >= first[i] || !w.batch.resumes(last) {
			continue
		}
		if best == 0 || max(i-middle, middle-i) < max(best-middle, middle-best) {
			best, after = i, last
		}
	}
	if best == 0 {
		return 0, nil, false
	}
	cursor, err := w.batch.cursors.json(after)
	return part.from + best, cursor, err == nil
}

// resumes reports whether a later read can go on after row i.
func (b *readBatch) resumes(i int) bool { return len(b.names) == 0 || b.names[i].resume }

// indexes are the part's rows in the batch, without those that are left out.
func (f *fencedRows) indexes() []int {
	list := make([]int, 0, f.to-f.from)
	for i := f.from; i < f.to; i++ {
		if !slices.Contains(f.left, i) {
			list = append(list, i)
		}
	}
	return list
}

// refusedRow is a row of a batch that its sink refuses, and why.
type refusedRow struct {
	row int
	err error
}

// named returns the rows that an error names.
func (f *fencedRows) named(err error) (named []refusedRow) {
	rows := f.indexes()
	for _, e := range rowErrors(err) {
		if e.Row >= 0 && e.Row < len(rows) {
			named = append(named, refusedRow{rows[e.Row], e})
		}
	}
	return named
}

// rowErrors returns all errors of rows that are in err, which may have joined them.
func rowErrors(err error) (all []*RowError) {
	var e *RowError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			all = append(all, rowErrors(one)...)
		}
	} else if errors.As(err, &e) {
		all = append(all, e)
	}
	return all
}

// only returns the first row, if all rows are of one record.
func (f *fencedRows) only(origin []int) (row int, only bool) {
	rows := f.indexes()
	return rows[0], origin[rows[0]] == origin[rows[len(rows)-1]]
}

// inputs counts the records whose rows are in the part.
func (f *fencedRows) inputs(origin []int) (n int64) {
	last := -1
	for _, i := range f.indexes() {
		if origin[i] != last {
			n, last = n+1, origin[i]
		}
	}
	return n
}
