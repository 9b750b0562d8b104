package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// writeTo writes the batch to a sink outside the database, before its checkpoint. If the
// sink refuses rows, and the flow has a policy, the others are written in parts.
func (w *batchWriter[T, C, Out]) writeTo(ctx context.Context, s step) error {
	rows := w.out.rows
	id, keys := w.batchID(s.cursor), outputKeys(w.batch, w.out.origin)
	d := &divider[T, C, Out]{w: w, delta: &s.delta, refusedOnce: map[int]bool{}}
	d.part = func(ctx context.Context, from, to int) error {
		b := SinkBatch[Out]{ID: id, Rows: rows[from:to], Keys: keys[from:to]}
		if to-from < len(rows) { // it is another batch for the sink, and the same one after a retry
			b.ID = fmt.Sprintf("%s-%d-%d", id, from+1, to)
		}
		if w.a.flow.opts.OnBadRecord != nil {
			b.Refuse = func(row int, err error) error {
				if row < 0 || row >= to-from {
					return fmt.Errorf("the sink refuses row %d of a batch of %d rows: %w", row, to-from, err)
				}
				return d.refused(ctx, from+row, err)
			}
		}
		return foreign(w.p.target.sink.Write(ctx, b))
	}
	if err := d.write(ctx, 0, len(rows)); err != nil {
		return err
	}
	s.letters = w.letters
	return w.a.commitAgain(ctx, s)
}

// fencedRows are the rows of a batch that a FencedSink is given at once.
type fencedRows struct {
	from, to int  // in the batch's rows
	last     bool // they are the batch's last
	left     []int
}

// writeFenced writes the batch and its checkpoint to the sink, and then makes our
// checkpoint.
func (w *batchWriter[T, C, Out]) writeFenced(ctx context.Context, s step) error {
	return w.writeFencedPart(ctx, s, fencedRows{to: len(w.out.rows), last: true})
}

// writeFencedPart writes a part of the batch that ends at s.cursor. The sink writes all of it
// or nothing, and that is what keeps a record from being written twice. So a row that it
// names is left out, and the rest is tried again. If it names none, the part is divided at a
// resume point, and each half is a step of its own.
func (w *batchWriter[T, C, Out]) writeFencedPart(ctx context.Context, s step, part fencedRows) error {
	ends := w.a.slice.ends
	w.a.slice.ends = ends && part.last
	defer func() { w.a.slice.ends = ends }()
	for {
		err := w.tryFenced(ctx, &s, part)
		if err == nil {
			return w.a.commitAgain(ctx, s)
		}
		if len(part.left) == part.to-part.from || !w.divisible(err) {
			return w.a.sinkFenced(ctx, w.writeError(part.from, part.to, err))
		}
		d := divider[T, C, Out]{w: w, delta: &s.delta}
		row, named := part.named(err)
		if !named {
			if row, named = part.only(w.out.origin); !named {
				return w.halveFenced(ctx, s, part, err)
			}
		}
		first, end := d.siblings(part.from, part.to, row)
		if err := d.refused(ctx, row, err); err != nil {
			return err
		}
		for i := first; i < end; i++ {
			part.left = append(part.left, i)
		}
	}
}

// tryFenced hands a part to the sink.
func (w *batchWriter[T, C, Out]) tryFenced(ctx context.Context, s *step, part fencedRows) error {
	state, err := json.Marshal(sinkState{Cursor: s.cursor, Delta: s.delta, Seq: w.a.place.seq})
	if err != nil {
		return Permanent(fmt.Errorf("write the sink's checkpoint as JSON: %w", err))
	}
	// Before the sink: a crash between its commit and ours would lose the letters.
	if err := w.keepLetters(ctx); err != nil {
		return err
	}
	rows := w.out.rows[part.from:part.to]
	if len(part.left) > 0 {
		rows = make([]Out, 0, len(rows))
		for _, i := range part.indexes() {
			rows = append(rows, w.out.rows[i])
		}
	}
	b := FencedBatch[Out]{Flow: w.a.sinkName(), Fence: w.a.place.fence, State: state, Rows: rows}
	return guard(func() error { return w.p.target.fenced.WriteFenced(ctx, b) })
}

// halveFenced writes a part in two steps. All that is counted beside the rows of the second
// one belongs to the first.
func (w *batchWriter[T, C, Out]) halveFenced(ctx context.Context, s step, part fencedRows, cause error) error {
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
	one.cursor, one.afterCommit = cursor, nil
	one.delta.Read -= written
	one.delta.Written -= written
	if err := w.writeFencedPart(ctx, one, first); err != nil {
		return err
	}
	two := s
	two.seq, two.delta = w.a.nextSeq(), Counters{Read: written, Written: written}
	return w.writeFencedPart(ctx, two, second)
}

// resumePoint finds where to divide a part: after the rows of a record that is a resume
// point, as near to the middle as there is one.
func (w *batchWriter[T, C, Out]) resumePoint(part fencedRows) (row int, cursor json.RawMessage, ok bool) {
	origin, best := w.out.origin, -1
	middle := (part.from + part.to) / 2
	for i := part.from + 1; i < part.to; i++ {
		if origin[i] == origin[i-1] || !w.batch.resumes(origin[i-1]) {
			continue
		}
		if best < 0 || max(i-middle, middle-i) < max(best-middle, middle-best) {
			best = i
		}
	}
	if best < 0 {
		return 0, nil, false
	}
	cursor, err := json.Marshal(w.batch.cursors[origin[best-1]])
	return best, cursor, err == nil
}

// resumes reports whether a later read can go on after row i.
func (b *readBatch[T, C]) resumes(i int) bool { return len(b.names) == 0 || b.names[i].resume }

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

// named returns the row that an error names.
func (f *fencedRows) named(err error) (row int, named bool) {
	var e *RowError
	if !errors.As(err, &e) {
		return 0, false
	}
	rows := f.indexes()
	if e.Row < 0 || e.Row >= len(rows) {
		return 0, false
	}
	return rows[e.Row], true
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
