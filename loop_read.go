package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
)

// readBatch holds the records between two checkpoints, as they were read.
type readBatch struct {
	rows       records
	count      int        // of rows, while they are read
	cursors    cursorList // one for each row
	names      []rowName  // one for each row; none if each row is a resume point without a key
	bad        []*RecordError
	badAt      []int // badAt[i] is how many rows were read before bad[i]
	readBefore int64 // how many records were read before this batch
	resume     bool  // there is a resume point
	ended      bool  // the source ends with this batch
	// How many rows and bad records there are, up to the last resume point.
	safeRows, safeBad int
	again             againRecords
	marks, marksAt    int // marks in a row, and the size at which they began
	began             time.Time
	took              time.Duration // to read it
	weight            int           // estimated bytes of the records, and of the raw text of bad ones
}

// rowName names a row together with its cursor. The text of the name is made only when it is
// needed.
type rowName struct {
	key    string
	resume bool
}

// againRecords are the records of a batch that an earlier run has read.
type againRecords struct {
	rows         []int // their places among the rows
	bad, safeBad int   // how many bad records; up to the last resume point
}

func (a *againRecords) size() int64 { return int64(len(a.rows) + a.bad) }

// among counts them among the rows from one on.
func (a *againRecords) among(from int) int64 {
	at, _ := slices.BinarySearch(a.rows, from)
	return int64(len(a.rows) - at)
}

// cut drops what was read after the last resume point.
func (a *againRecords) cut(rows int) {
	at, _ := slices.BinarySearch(a.rows, rows)
	a.rows, a.bad = a.rows[:at], a.safeBad
}

// after returns what cut drops, for another batch.
func (a *againRecords) after(rows int) againRecords {
	at, _ := slices.BinarySearch(a.rows, rows)
	rest := againRecords{bad: a.bad - a.safeBad}
	for _, row := range a.rows[at:] {
		rest.rows = append(rest.rows, row-rows)
	}
	return rest
}

// noteAgain notes that an earlier run has read the last record.
func (b *readBatch) noteAgain(bad bool) {
	if bad {
		b.again.bad++
		return
	}
	b.again.rows = append(b.again.rows, b.count-1)
}

// size counts the records, good and bad.
func (b *readBatch) size() int { return b.count + len(b.bad) }

// since counts the records that were read after the last resume point.
func (b *readBatch) since() int { return b.size() - b.safeRows - b.safeBad }

// key names row i.
func (b *readBatch) key(i int) string {
	n := rowName{resume: true}
	if len(b.names) > 0 {
		n = b.names[i]
	}
	switch {
	case n.key != "":
		return n.key
	case n.resume:
		return b.cursors.text(i)
	default:
		return fmt.Sprintf("#%d", b.readBefore+int64(i)+1)
	}
}

// recordError is the error of row i in a stage.
func (b *readBatch) recordError(i int, stage Stage, err error) *RecordError {
	e := &RecordError{Stage: stage, Key: b.key(i), Err: err}
	if raw, merr := json.Marshal(b.rows.record(i)); merr == nil {
		e.Raw = raw
	}
	return e
}

// asRecordError returns the error of one bad record, nil for any other.
func asRecordError(err error) *RecordError {
	var bad *RecordError // escapes to the heap: the hot path asks only about an error
	errors.As(err, &bad)
	return bad
}

// countMark counts the marks in a row.
func (b *readBatch) countMark() {
	if b.size() != b.marksAt {
		b.marks, b.marksAt = 0, b.size()
	}
	b.marks++
}

// name adds a name for the last row, and for the rows before it that have none yet.
func (b *readBatch) name(key string, resume bool) {
	for len(b.names) < b.count-1 {
		b.names = append(b.names, rowName{resume: true})
	}
	b.names = append(b.names, rowName{key: key, resume: resume})
}

// addBad adds a bad record. Its raw text adds to the weight.
func (b *readBatch) addBad(bad *RecordError) {
	b.bad, b.badAt = append(b.bad, bad), append(b.badAt, b.count)
	b.weight += len(bad.Raw)
}

// mark notes a resume point: a later read can go on there.
func (b *readBatch) mark() {
	b.resume = true
	b.safeRows, b.safeBad, b.again.safeBad = b.count, len(b.bad), b.again.bad
}

// cut drops what was read after the last resume point.
func (b *readBatch) cut() {
	b.rows.truncate(b.safeRows)
	b.cursors.truncate(b.safeRows)
	b.count = b.safeRows
	b.again.cut(b.safeRows)
	b.bad, b.badAt = b.bad[:b.safeBad], b.badAt[:b.safeBad]
	b.names = b.names[:min(len(b.names), b.safeRows)]
}

// reset empties the batch and keeps its memory.
func (b *readBatch) reset() {
	b.rows.release()
	b.cursors.reset()
	clear(b.names)
	*b = readBatch{rows: b.rows, cursors: b.cursors, names: b.names[:0]}
}

// batchReader cuts what a source yields into batches.
type batchReader struct {
	types     recordCode
	resumable bool // batches end at resume points
	req       any  // what to read, a *Request[C]
	size      *batch.Size
	weigher   *batch.Weigher        // nil: records are not weighed
	load      *batch.Load           // what was handed over and not taken back
	turnstile *batch.Turnstile      // see batchesAlone
	free      chan *readBatch       // batches to be filled again
	handed    int64                 // records handed over
	number    int                   // batches handed over
	wait      time.Duration         // after which a batch ends; 0: never
	waiting   *waitingBatch         // nil if batches do not wait
	current   *readBatch            // the batch that is read
	handTo    func(*readBatch) bool // takes the batches; false: no more is wanted
	watch     readWatch             // of the source
}

// recycle takes back a batch that was written, to be filled again.
func (r *batchReader) recycle(b *readBatch) {
	weight := b.weight
	b.reset()
	r.load.Remove(weight)
	select {
	case r.free <- b:
	default:
	}
}

func (r *batchReader) newBatch() *readBatch {
	var b *readBatch
	select {
	case b = <-r.free:
	default:
		b = r.types.newRead()
	}
	b.readBefore = r.handed
	b.began = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	return b
}

// hand hands over a batch. It returns false when no more is wanted.
func (r *batchReader) hand(b *readBatch) bool {
	r.handed += int64(b.size())
	r.number++
	b.took = time.Since(b.began)
	r.load.Add(b.weight)
	r.watch.pause()
	defer r.watch.resume()
	return r.handTo(b)
}

// mayReadOn waits until the next batch may be read. It reports false if ctx is done before
// that.
func (r *batchReader) mayReadOn(ctx context.Context) bool {
	r.watch.pause()
	defer r.watch.resume()
	return r.turnstile.Wait(ctx, r.number) && r.load.Wait(ctx)
}

// newReader returns the reader of what is requested, a *Request[C].
func (p *flowCode) newReader(size *batch.Size, req any) *batchReader {
	r := &batchReader{types: p.types, resumable: p.resumable(), req: req, size: size, load: &batch.Load{}, free: make(chan *readBatch, 3)}
	if t := p.types.recordType(); size.Weighs() && batch.HasPointers(t) {
		r.weigher = batch.NewWeigher(t)
	}
	return r
}

// read reads the source to its end. The source gets reading as its context, which ends with a
// *silentError if the source says nothing for too long.
func (r *batchReader) read(ctx, reading context.Context, hand func(*readBatch) bool) error {
	r.handTo = hand
	if r.wait > 0 {
		return r.readWaiting(ctx, reading)
	}
	return r.readAll(ctx, reading)
}

// readAll reads the source to its end. A panic is an error of the read.
func (r *batchReader) readAll(ctx, reading context.Context) error {
	err := guard(func() error { return r.types.read(ctx, reading, r.req, r) })
	if panicked, ok := err.(*PanicError); ok { //nolint:errorlint // guard's own: no error of the source
		return fmt.Errorf("read: %w", panicked)
	}
	return err
}

// begin begins the first batch.
func (r *batchReader) begin() *readBatch {
	r.current = r.newBatch()
	return r.current
}

// itemMarks are what an [Item] says of itself, beside its value and its cursor.
type itemMarks struct {
	key                 string
	resume, mark, again bool
}

// take takes what few items have: a key, no resume point, or an error. It returns an error
// if the read ends with it.
func (r *batchReader) take(ctx, reading context.Context, b *readBatch, item itemMarks, err error) error {
	switch bad := asRecordError(err); {
	case bad != nil:
		b.addBad(bad)
	case err != nil:
		r.beforeError(ctx, b)
		r.waiting.finish()
		return readError(context.Cause(reading), err)
	case !item.mark && (item.key != "" || !item.resume || len(b.names) > 0):
		b.name(item.key, item.resume)
	}
	if item.again && !item.mark {
		b.noteAgain(err != nil)
	}
	if item.resume || item.mark {
		b.mark()
	}
	if item.mark {
		b.countMark()
	}
	return nil
}

// endItem hands over the batch after an item if it is to end, and returns the batch of the
// next item. It returns nil if no more is wanted.
func (r *batchReader) endItem(ctx context.Context, b *readBatch) (*readBatch, error) {
	if r.waiting != nil {
		return r.waiting.endItem(ctx, b)
	}
	if !r.endsHere(b) {
		return b, nil
	}
	if !r.hand(b) || !r.mayReadOn(ctx) {
		return nil, ctx.Err()
	}
	return r.begin(), nil
}

// end hands over what is left at the end of the source.
func (r *batchReader) end(ctx, reading context.Context) error {
	if r.waiting != nil {
		r.waiting.lock()
		defer r.waiting.finish()
	}
	b := r.current
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := reading.Err(); err != nil {
		r.beforeError(ctx, b)
		return readError(context.Cause(reading), err)
	}
	return r.last(b)
}

// readError is the error of a source, or the cause for which its read was ended.
func readError(cause, err error) error {
	var silent *silentError
	if errors.As(cause, &silent) {
		return silent
	}
	return fmt.Errorf("read: %w", foreign(err))
}

// maxMarks is the number of marks in a row after which a batch ends, so that a source that
// finds no records for a long time makes checkpoints, and its slice can end. It counts marks
// and not time, so that a batch that is read again ends at the same place.
const maxMarks = 10

// full reports whether a batch is to end.
func (r *batchReader) full(b *readBatch) bool {
	return b.marks >= maxMarks || r.size.Full(b.size(), b.weight)
}

// endsHere reports whether the batch can end after the last record. A full batch ends at the
// first resume point after that.
func (r *batchReader) endsHere(b *readBatch) bool {
	return !r.resumable || (b.resume && b.since() == 0)
}

// beforeError hands over what was read up to the last resume point before an error. So a
// source that breaks early every time still advances.
func (r *batchReader) beforeError(ctx context.Context, b *readBatch) {
	if ctx.Err() != nil || !b.resume {
		return
	}
	b.cut()
	r.hand(b)
}

// last hands over what is left at the end of the source. Records after the last resume point
// are an error.
func (r *batchReader) last(b *readBatch) error {
	if r.resumable && b.since() > 0 {
		return Permanent(fmt.Errorf("the source ended %d records after its last resume point, and the next run would read them again: make its last record a resume point, or yield a mark after it", b.since()))
	}
	if b.size() > 0 || b.resume {
		b.ended = true
		r.hand(b)
	}
	return nil
}
