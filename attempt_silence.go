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

// begin starts the watch, just before the read.
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

// silenceWatcher ends the read of a silent source, and stores since when it is silent.
type silenceWatcher struct {
	a      *attempt
	watch  *readWatch
	source string
	limit  time.Duration // 0: none
	// end ends the read; abandon is called if that does not help.
	end     context.CancelCauseFunc
	abandon func(err error)
	told    bool // the run says that its source is silent
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

// run watches until ctx is done, which is when the read has ended.
func (s *silenceWatcher) run(ctx context.Context) {
	tick := time.NewTicker(s.every())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		silent := s.watch.look()
		s.tell(ctx, silent)
		if s.limit == 0 || silent < s.limit {
			continue
		}
		err := &silentError{source: s.source, since: s.a.now().Add(-silent), limit: s.limit}
		s.end(err)
		s.giveUp(ctx, err)
		return
	}
}

// giveUp waits until the read has ended. It abandons a source that ignores its context.
func (s *silenceWatcher) giveUp(ctx context.Context, err *silentError) {
	grace := time.NewTicker(handBackTimeout)
	defer grace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-grace.C:
		}
		if s.watch.away.Load() { // the source has returned, and its last records are being written
			continue
		}
		left := *err
		left.behind = true
		s.abandon(&left)
		return
	}
}

// tell stores in the run that its source is silent, or is no more.
func (s *silenceWatcher) tell(ctx context.Context, silent time.Duration) {
	is := silent >= s.tellAfter()
	if is == s.told {
		return
	}
	p := &RunWaitsParams{RunID: s.a.claimed.RunID, LeaseNumber: s.a.claimed.LeaseNumber, State: RunInProgress, Ago: silent}
	if is {
		p.For = fmt.Sprintf("its source (%s), which has said nothing", s.source)
		if s.limit > 0 {
			p.For += fmt.Sprintf("; the read begins again after %s (FlowOptions.ReadTimeout)", s.limit)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.every())
	defer cancel()
	if err := s.a.control.RunWaits(ctx, p); err != nil {
		s.a.log.DebugContext(ctx, "dataflow: could not store that the source is silent; trying again", slog.String(logError, err.Error()))
		return
	}
	if s.told = is; is {
		s.a.log.WarnContext(ctx, "dataflow: the source has said nothing for a while", slog.String("type", s.source), slog.Duration("for", silent.Round(time.Millisecond)))
	}
}

// watchSource watches a read. The returned context ends the read, and stop must be
// called when it has ended. abandoned gets an error if the source ignores that context.
func (a *attempt) watchSource(ctx context.Context, watch *readWatch, source string, abandoned chan<- error) (read context.Context, stop func()) {
	read, end := context.WithCancelCause(ctx)
	watching, cancel := context.WithCancel(ctx)
	s := &silenceWatcher{
		a: a, watch: watch, source: source, limit: a.flow.readTimeout(), end: end,
		abandon: func(err error) { abandoned <- err },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(watching)
	}()
	return read, func() {
		cancel()
		<-ended
		end(nil)
	}
}
