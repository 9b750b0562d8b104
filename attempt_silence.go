package dataflow

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// readWatch knows since when a source has said nothing. The reader only looks at a flag for
// each item; the watcher sets it now and then, and so learns whether an item has come since.
type readWatch struct {
	asked atomic.Bool  // the reader notes its next item
	away  atomic.Bool  // the reader waits for the loop, and asks the source for nothing
	heard atomic.Int64 // when the last item was noted, in nanoseconds since epoch
	epoch time.Time
}

// begin starts the watch, just before the read. When the read has ended, pause must be called.
func (w *readWatch) begin() {
	w.epoch = time.Now() //nolint:forbidigo // how long it takes, not what time it is
	w.asked.Store(true)
}

// note notes an item.
func (w *readWatch) note() {
	w.heard.Store(int64(time.Since(w.epoch)))
	w.asked.Store(false)
}

// pause says that the source is not asked for anything, until resume.
func (w *readWatch) pause() { w.away.Store(true) }

func (w *readWatch) resume() {
	if !w.epoch.IsZero() {
		w.note()
	}
	w.away.Store(false)
}

// silence returns for how long the source has said nothing. It is zero while the source is
// not asked.
func (w *readWatch) silence() time.Duration {
	if w.epoch.IsZero() || w.away.Load() {
		return 0
	}
	return time.Since(w.epoch) - time.Duration(w.heard.Load())
}

// look is silence for the watcher, who looks now and then.
func (w *readWatch) look() time.Duration {
	if w.away.Load() {
		return 0
	}
	if w.asked.CompareAndSwap(false, true) { // an item has come since the last look
		w.heard.Store(int64(time.Since(w.epoch)))
		return 0
	}
	return w.silence()
}

// busyWatch knows since when a transform or a sink works on one batch. A nil one knows nothing.
type busyWatch struct {
	name  string // such as "transform"
	part  string // its type; empty: that says nothing
	epoch time.Time
	since atomic.Int64 // in nanoseconds since epoch; 0: it does not work
}

func newBusyWatch(name, part string) *busyWatch {
	return &busyWatch{name: name, part: part, epoch: time.Now()} //nolint:forbidigo // how long it takes, not what time it is
}

func (w *busyWatch) begin() {
	if w != nil {
		w.since.Store(max(int64(time.Since(w.epoch)), 1))
	}
}

// end says that the batch is done. If ctx is done, it was only interrupted: what was slow is to
// be named.
func (w *busyWatch) end(ctx context.Context) {
	if w != nil && ctx.Err() == nil {
		w.since.Store(0)
	}
}

func (w *busyWatch) String() string {
	if w.part == "" {
		return w.name
	}
	return fmt.Sprintf("%s (%s)", w.name, w.part)
}

// busy returns for how long the part has worked on one batch.
func (w *busyWatch) busy() time.Duration {
	if w == nil || w.since.Load() == 0 {
		return 0
	}
	return time.Since(w.epoch) - time.Duration(w.since.Load())
}

// partWatches watch the parts of one record loop.
type partWatches struct {
	source          *readWatch // nil: nothing was read
	transform, sink *busyWatch
}

// slow returns the part that has worked on one batch for so long, nil if none has.
func (w *partWatches) slow(long time.Duration) *busyWatch {
	for _, part := range []*busyWatch{w.transform, w.sink} {
		if part.busy() >= long {
			return part
		}
	}
	return nil
}

// silentError says that a source has said nothing for too long.
type silentError struct {
	source string
	since  time.Time
	limit  time.Duration
	behind bool // it ignores its context
}

func (e *silentError) Error() string {
	left := ""
	if e.behind {
		left = "; it ignores its context, and its goroutine is left behind"
	}
	return fmt.Sprintf("read: the source (%s) has said nothing since %s, for longer than FlowOptions.ReadTimeout, %s: its server or the network may be silent; the read begins again%s. If the source needs longer, set a longer ReadTimeout",
		e.source, e.since.UTC().Format(time.RFC3339), e.limit, left)
}

// silenceWatcher ends the read of a silent source. It stores in the run which part says nothing
// or works on one batch for long.
type silenceWatcher struct {
	a      *attempt
	source string
	limit  time.Duration // 0: none
	// end ends the read; abandon is called if that does not help. read is closed when the read
	// has ended.
	end     context.CancelCauseFunc
	abandon func(err error)
	read    <-chan struct{}
	silent  *silentError // for which the read was ended; nil: it was not
	grace   time.Duration
	told    string // what the run says that it waits for
}

// every is how often the watcher looks.
func (s *silenceWatcher) every() time.Duration {
	if s.limit == 0 {
		return silenceTold / 10
	}
	return min(max(s.limit/10, time.Millisecond), silenceTold/10)
}

// tellAfter is after how much silence the run says so.
func (s *silenceWatcher) tellAfter() time.Duration {
	if s.limit == 0 {
		return silenceTold
	}
	return min(s.limit/2, silenceTold)
}

// run watches until ctx is done, which is when the loop has ended.
func (s *silenceWatcher) run(ctx context.Context) {
	tick := time.NewTicker(s.every())
	defer tick.Stop()
	for ctx.Err() == nil {
		silent := s.a.watches.source.look()
		s.tell(ctx, silent)
		switch {
		case s.silent != nil:
			s.giveUp()
		case s.limit > 0 && silent >= s.limit:
			s.silent = &silentError{source: s.source, since: s.a.now().Add(-silent), limit: s.limit}
			s.end(s.silent)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// giveUp abandons a source that ignores its context for too long.
func (s *silenceWatcher) giveUp() {
	select {
	case <-s.read:
		return
	default:
	}
	if s.grace += s.every(); s.grace < handBackTimeout || s.abandon == nil || s.a.watches.source.away.Load() {
		return // if it is away, it has returned, and its last records are being written
	}
	left := *s.silent
	left.behind = true
	s.abandon(&left)
	s.abandon = nil
}

// waitsForSource is how every text begins that says that a run waits for its source.
const waitsForSource = "its source ("

// tell stores in the run which part it waits for, or that it waits for none any more.
func (s *silenceWatcher) tell(ctx context.Context, silent time.Duration) {
	p := s.a.waits("", silent)
	part, name, saying := "source", s.source, "has said nothing"
	if slow := s.a.watches.slow(silenceTold); slow != nil {
		part, name, saying, p.Ago = slow.name, slow.part, "has worked on one batch", slow.busy()
		p.For = fmt.Sprintf("its %s, which %s", slow, saying)
	} else if silent >= s.tellAfter() {
		p.For = fmt.Sprintf(waitsForSource+"%s), which %s", name, saying)
		if s.limit > 0 {
			p.For += fmt.Sprintf("; the read begins again after %s (FlowOptions.ReadTimeout)", s.limit)
		}
	}
	if p.For == s.told {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.every())
	defer cancel()
	if err := s.a.control.RunWaits(ctx, p); err != nil {
		s.a.log.DebugContext(ctx, "dataflow: could not store what the run waits for; trying again", slog.String(logError, err.Error()))
		return
	}
	if s.told = p.For; p.For != "" {
		s.a.log.WarnContext(ctx, "dataflow: the "+part+" "+saying+" for a while", slog.String("type", name), slog.Duration("for", p.Ago.Round(time.Millisecond)))
	}
}

// watchParts watches the parts of the loop, until stop is called. The returned context is for
// the read, and end ends it. abandoned gets an error if the source ignores that context.
func (a *attempt) watchParts(ctx context.Context, source string, abandoned chan<- error, readEnded <-chan struct{}) (read context.Context, end context.CancelCauseFunc, stop func()) {
	read, end = context.WithCancelCause(ctx)
	watching, cancel := context.WithCancel(ctx)
	s := &silenceWatcher{
		a: a, source: source, limit: a.flow.readTimeout(), end: end, read: readEnded,
		abandon: func(err error) { abandoned <- err },
	}
	ended := make(chan struct{})
	begin := time.AfterFunc(s.every(), func() { // most loops end before that
		defer close(ended)
		s.run(watching)
	})
	return read, end, func() {
		cancel()
		if !begin.Stop() {
			<-ended
		}
		end(nil)
	}
}
