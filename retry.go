package dataflow

// Waiting: how long things wait, retries, trouble, snoozes and graces alike. It knows the words
// alone. The settings of a Config, such as Lease and PollInterval, are in config.go.

import (
	"cmp"
	"time"
)

// Permanent marks an error that no retry can fix: the run fails at once. A nil error
// stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &signal{err: err, permanent: true}
}

// Transient marks an error that should pass by itself, such as that of a server that
// cannot be reached. The attempt waits briefly and goes on from the last checkpoint. It
// fails only after a minute without progress. Errors of the client's own database need
// no mark. [RetryAfter] on the same error sets the wait instead. A nil error stays nil.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &signal{err: err, transient: true}
}

// RetryAfter marks an error after which the next attempt starts after d at the
// earliest, instead of after the flow's backoff. If the attempt has made a checkpoint that
// moved the cursor, the wait spends no attempt. A nil error stays nil. A negative d counts
// as zero.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &signal{err: err, after: max(d, time.Nanosecond)}
}

// IsPermanent reports whether err, or any error that it wraps, was marked by
// [Permanent].
func IsPermanent(err error) bool { return marks(err).permanent }

// signal carries the marks of an error from a stage to the executor.
type signal struct {
	err       error
	permanent bool
	transient bool
	after     time.Duration
}

func (s *signal) Error() string { return s.err.Error() }

func (s *signal) Unwrap() error { return s.err }

// marks adds up the marks of err and of all errors that it wraps. Of two delays, the
// longer counts.
func marks(err error) (m signal) {
	if s, ok := err.(*signal); ok { //nolint:errorlint // each error on the way is looked at
		m = *s
	}
	var inner []error
	switch w := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		inner = []error{w.Unwrap()}
	case interface{ Unwrap() []error }:
		inner = w.Unwrap()
	case *foreignError:
		inner = []error{w.err}
	}
	for _, err := range inner {
		i := marks(err)
		m.permanent, m.transient, m.after = m.permanent || i.permanent, m.transient || i.transient, max(m.after, i.after)
	}
	return m
}

// defaultMaxAttempts is how often a run is tried if its flow does not say.
const defaultMaxAttempts = 5

func (f *Flow) maxAttempts() int { return cmp.Or(f.opts.MaxAttempts, defaultMaxAttempts) }

func (f *Flow) backoff(attempt int) time.Duration {
	if f.opts.Backoff != nil {
		var d time.Duration
		if err := guard(func() error { d = f.opts.Backoff(attempt); return nil }); err == nil {
			return max(d, 0)
		}
	}
	n := float64(attempt)
	return time.Duration((n*n*n*n + 2) * float64(time.Second))
}

// How an attempt waits while a database or server is away, before it fails.
const (
	troubleWindow = time.Minute            // without a checkpoint, before the attempt fails
	troubleFirst  = 100 * time.Millisecond // the first wait, which doubles
	troubleMost   = 2 * time.Second
	troubleTold   = time.Second // after which the run says what it waits for
)

// How an attempt waits after a conflict with another transaction, such as a deadlock.
// The numbers are those of the Ruby gem: retry_on Deadlocked, wait: 5.seconds,
// attempts: 3.
const (
	conflictTries = 3
	conflictWait  = 5 * time.Second
)

// staleTries is how often an attempt repeats a batch, without a pause, whose statements were
// prepared before a migration. Each connection of the pool can meet that once for each
// statement. Pools use the same connections first, so that a few repetitions do as a rule.
const staleTries = 100

// retryPage is how many dead letters that are tried again are read at once.
const retryPage = 1000

// retryEvery is how often a run tries its flow's dead letters again before its end.
func (c *Config) retryEvery() time.Duration {
	if c.Slice < 0 {
		return DefaultSlice
	}
	return c.Slice
}

// retryLimit is how long a run may try dead letters again before it goes on, or its job ends.
func (c *Config) retryLimit() time.Duration { return min(c.retryEvery(), sliceGrace) / 2 }

// How long a job that cannot be worked now is snoozed. A snooze spends no attempt.
const (
	snoozeBusy          = 2 * time.Second  // another run of the flow is in progress
	snoozeFull          = 10 * time.Second // its pool, or its group, has no room; a new job comes once it has
	snoozeStopped       = time.Second      // this process is stopping
	snoozeTrouble       = time.Second      // the database is away, or something is in the way
	snoozeNotRegistered = 5 * time.Second  // another process may have the code
	soonest             = 100 * time.Millisecond
)

// handBackTimeout bounds the statements that end an attempt whose own context is done.
const handBackTimeout = 5 * time.Second

// sliceGrace is how long a job may take after its slice, to end its batch.
const sliceGrace = time.Minute

// abandonTimeout bounds the statements that hand back runs whose code does not end, if
// ctx is done and leaves no time for them.
const abandonTimeout = time.Second

// riverRescue is the age at which River's rescuer, by its defaults, may have given a job to
// another worker. That worker found nothing to do and ended the job.
const riverRescue = 55 * time.Minute

// predecessorWait is how long a written batch waits for the commit of the batch before it.
// Then it rolls back, and unlocks its rows: somebody who waits for one of them may have
// locked the run, and no database can see that.
const predecessorWait = 2 * time.Second

// renewEvery is the longest time between two renewals of a lease. A process learns at a
// renewal that a run is to be cancelled.
const renewEvery = 2 * time.Second

// defaultReadTimeout is how long a source may say nothing if its flow does not say.
const defaultReadTimeout = 5 * time.Minute

// readTimeout is how long the flow's source may say nothing, 0 without a limit.
func (f *Flow) readTimeout() time.Duration {
	switch t := f.opts.ReadTimeout; {
	case t > 0:
		return t
	case t < 0, f.opts.BatchWait > 0:
		return 0
	default:
		return defaultReadTimeout
	}
}

// longestLook is the most that a look of a started client's loop may take. The first may take two leases.
const longestLook = 10 * time.Minute

// silenceTold is after how much silence of its source a run says so.
const silenceTold = 10 * time.Second

// tickSoonest is the least time for which the loop sleeps. Another process is handling a tick
// that is due by then.
const tickSoonest = 10 * time.Millisecond

// waitInterval is how often Wait looks at a run that another process works.
const waitInterval = 200 * time.Millisecond

// countTimeout limits how long a source may take to count its records.
const countTimeout = 5 * time.Second
