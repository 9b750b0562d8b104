// The attempt takes a run from one checkpoint to the next. attempt.go says where an attempt
// is, and keeps it going through trouble; attempt_commit.go commits its steps.
//
// It may know the words of the library, the store, internal/batch, and the jobs, to hand a run
// over. It knows no records: the record loop gives it steps, and writes their rows when asked.

package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/lease"
)

// attempt is one attempt at a run, as the record loop sees it.
type attempt struct {
	base
	gate    *gate
	leases  *lease.Keeper[*attempt]
	jobs    *jobs
	flow    *Flow
	run     *Run              // its counters grow with each checkpoint
	job     *rivertype.JobRow // nil: worked without River
	log     *slog.Logger
	started time.Time

	claimed LeaseRef
	cancel  context.CancelCauseFunc
	// connections gives back those that the run holds.
	connections func()
	leftBehind  []<-chan struct{} // closed when what ignores its context has returned after all
	leaving     atomic.Bool       // a transaction gives the lease away, and may be committed

	// control is for statements that must not wait for connections that runs have.
	control Store
	watches partWatches

	place  place
	moved  bool // the attempt has moved the checkpoint's cursor
	sizes  sizes
	slice  slice
	chain  chain
	writer stepWriter

	loaded     json.RawMessage // where a first load in ranges has come; nil: there was none
	loadedRows int64           // how many rows its ranges have written

	begun   bool // the record loop has begun before in this attempt
	preview bool // it is a dry run
	begins  bool // a dry run begins after a cursor that its caller gave
	quiet   bool // a tick's run that has read nothing yet: it is logged at LevelDebug
}

// place is where the attempt is: the checkpoint that it goes on from.
type place struct {
	seq    int64           // the checkpoint's number
	cursor json.RawMessage // nil: there is no checkpoint with a cursor
	fence  int64           // for a sink elsewhere: the number that the claim has set
	setSeq int64           // the number when somebody last set the cursor; 0: nobody has
}

// from is the cursor that the next checkpoint replaces; JSON null is the beginning.
func (p *place) from() json.RawMessage {
	if p.cursor == nil {
		return json.RawMessage("null")
	}
	return p.cursor
}

// sizes say how many records a batch should hold, and how many the source does hold.
type sizes struct {
	set   int         // a batch's size, as the Runtime sets it; 0: automatic
	batch *batch.Size // nil: the record loop has not begun
	total *int64      // the source's records; nil: not known
}

// slice is the part of a run that one River job works.
type slice struct {
	timer       *time.Timer // nil: the run is not sliced
	over        bool        // the timer has fired
	turns       *batch.Turns
	ends        bool // the slice ends with the batch that is written now
	sourceEnded bool // nothing is left for another slice
}

// isOver reports whether the run should go on in another job.
func (s *slice) isOver() bool {
	if s.timer == nil || s.over {
		return s.over
	}
	select {
	case <-s.timer.C:
		s.over = true
	default:
	}
	return s.over
}

// handsOver reports whether the run changes jobs with the checkpoint of the batch that is
// written now.
func (s *slice) handsOver() bool { return s.ends && !s.sourceEnded }

// Why an attempt ends other than by its own work.
var (
	errCancelled = errors.New("cancelled")
	errSliceOver = errors.New("the slice is over")
)

// stopping reports whether the client wants its runs back.
func (a *attempt) stopping() bool {
	select {
	case <-a.gate.stopping:
		return true
	default:
		return false
	}
}

// handOver makes the run pending, with a new River job, in the transaction of the slice's
// last checkpoint.
func (a *attempt) handOver(ctx context.Context, tx Tx, q Queries) (*Run, error) {
	a.leaving.Store(true)
	run, err := q.RunEnd(ctx, &RunEndParams{
		RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber, State: RunPending, Refund: true,
		Works: a.moved,
	})
	if err != nil {
		return nil, fmt.Errorf("hand over to the next slice: %w", err)
	}
	if run == nil {
		return nil, ErrFenced
	}
	return run, a.jobs.insert(ctx, tx, run, river.InsertOpts{Queue: a.job.Queue, Priority: a.job.Priority})
}

// persevere works until it is done. While the database or a server cannot be reached, it
// waits, and goes on from the last checkpoint.
func (a *attempt) persevere(ctx context.Context, work func() error) error {
	var since time.Time
	var trouble error
	wait, told := troubleFirst, false
	for {
		a.chain.progressed = false
		err := guard(func() error {
			if !since.IsZero() {
				// The last commit may have gone through: where the run is must be known before
				// the next batch is made.
				if err := a.reclaim(ctx); err != nil {
					return err
				}
				if a.beyondRepair() { // by a commit whose answer was lost
					return trouble
				}
			}
			if told {
				told = !a.tellTrouble(ctx, nil, 0)
			}
			return a.marked(work())
		})
		if err == nil || !a.passing(ctx, err) {
			return err
		}
		trouble = err
		if errors.Is(err, errPredecessorLost) {
			a.chain.noWriteAhead = true
		}
		now := time.Now() //nolint:forbidigo // how long it takes, not what time it is
		if a.chain.progressed || since.IsZero() {
			since, wait = now, troubleFirst
			a.log.WarnContext(ctx, "dataflow: trouble that should pass; going on at the last checkpoint", slog.String(logError, err.Error()))
		}
		if now.Sub(since) > troubleWindow {
			return err
		}
		if now.Sub(since) >= troubleTold {
			told = a.tellTrouble(ctx, err, now.Sub(since)) || told
		}
		if !a.pause(ctx, wait) {
			return errors.Join(ErrStopped, context.Cause(ctx), err)
		}
		wait = min(2*wait, troubleMost)
	}
}

// tellTrouble stores in the run which trouble it waits out, nil for none any more. It reports
// whether that is stored: the database itself may be away.
func (a *attempt) tellTrouble(ctx context.Context, trouble error, ago time.Duration) bool {
	text := ""
	if trouble != nil {
		text = "trouble that should pass: " + trouble.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, troubleTold)
	defer cancel()
	return a.control.RunWaits(ctx, a.waits(text, ago)) == nil
}

// waits says for what the run waits, since when. With an empty text, it waits for nothing any more.
func (a *attempt) waits(text string, ago time.Duration) *RunWaitsParams {
	return &RunWaitsParams{RunID: a.claimed.RunID, LeaseNumber: a.claimed.LeaseNumber, State: RunInProgress, For: text, Ago: ago}
}

// beyondRepair reports whether the attempt cannot go on from a checkpoint: it has read
// records of a source without a cursor.
func (a *attempt) beyondRepair() bool { return !a.flow.code.resumable() && a.run.Counters.Read > 0 }

// marked returns an error with the marks that the flow gives it.
func (a *attempt) marked(err error) error {
	if a.flow.opts.MarkError == nil || err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrStopped) || errors.Is(err, errCancelled) ||
		errors.Is(err, errSliceOver) || errors.Is(err, errPredecessorLost) {
		return err
	}
	marked := err
	if guard(func() error { marked = a.flow.opts.MarkError(err); return nil }) != nil || marked == nil {
		return err
	}
	return marked
}

// passing reports whether an error should pass by itself.
func (a *attempt) passing(ctx context.Context, err error) bool {
	if errors.Is(err, errPredecessorLost) {
		return ctx.Err() == nil
	}
	m := marks(err)
	if ctx.Err() != nil || m.permanent || m.after > 0 || a.beyondRepair() {
		return false
	}
	var bad *RecordError
	return m.transient || !errors.As(err, &bad) && a.passes(err)
}

// passes reports whether the database itself says that an error should pass.
func (a *attempt) passes(err error) bool {
	fault := a.store.Classify(err)
	return fault == FaultUnavailable || fault == FaultStale
}

// own marks an error of the library's own statements that should pass, such as that of a lock: the attempt waits,
// and nothing is lost by another try. err may be nil.
func (a *attempt) own(err error) error {
	if err != nil && a.passesSoon(err) {
		return Transient(err)
	}
	return err
}

// pause waits. It reports false if the attempt must end first.
func (a *attempt) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.gate.stopping:
		return false
	case <-ctx.Done():
		return false
	}
}

// reclaim asks the database where the run is: a commit whose answer was lost may have gone
// through. While the claim is ours, no other process can move the checkpoint.
func (a *attempt) reclaim(ctx context.Context) error {
	var claim *Claim
	err := a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := a.store.With(tx)
		if err != nil {
			return err
		}
		claim, err = q.RunHeld(ctx, a.claimed, a.config.Lease)
		return err
	})
	switch {
	case err != nil:
		return a.own(fmt.Errorf("look at the checkpoint: %w", err))
	case claim == nil:
		return ErrFenced
	case claim.Run.CancelRequestedAt != nil:
		return errCancelled
	}
	a.run, a.place.seq, a.place.cursor = claim.Run, claim.Seq, claim.Cursor
	return nil
}

// leave gives the run's connections back, as soon as nothing of its code is running any more.
func (a *attempt) leave() {
	if len(a.leftBehind) == 0 {
		a.connections()
		return
	}
	go func() {
		for _, returned := range a.leftBehind {
			<-returned
		}
		a.connections()
	}()
}

// Interrupt ends the attempt with a cause. It is a [lease.Holder], as is Leaving.
func (a *attempt) Interrupt(cause error) { a.cancel(cause) }

// Leaving reports whether the attempt gives its lease to the next slice. It has no lease any
// more when the database has committed that, and must be let to hear of it.
func (a *attempt) Leaving() bool { return a.leaving.Load() }
