package dataflow

import "time"

// Action is what the engine does with a bad record.
type Action int

// The actions of a [Policy].
const (
	// Fail ends the attempt with the record's error.
	Fail Action = iota
	// Drop leaves the record out and counts it as dropped.
	Drop
	// DeadLetter stores the record as a [DeadLetterRecord] and counts it as
	// dead-lettered. It is stored in the checkpoint's transaction. With [ToFenced] it
	// is stored before, so that a batch that is written again may store it twice.
	DeadLetter
)

// String returns "fail", "drop" or "dead letter".
func (a Action) String() string {
	switch a {
	case Drop:
		return "drop"
	case DeadLetter:
		return "dead letter"
	default:
		return "fail"
	}
}

// Policy decides about a record that could not be read, transformed or written.
// badSoFar counts the run's bad records, including this one. Nil is [FailFast].
//
// The engine does not ask it about an error that is marked by [Permanent], [Transient]
// or [RetryAfter]. Such an error ends or delays the attempt, and the record is read
// again.
//
// It must be safe for concurrent use: other runs and previews of the flow may call it
// at the same time.
type Policy func(e *RecordError, badSoFar int64) Action

// FailFast ends the attempt at the first bad record. Nothing of its batch is written.
func FailFast(*RecordError, int64) Action { return Fail }

// SkipUpTo drops and counts up to n bad records of a run, and ends the attempt at the
// next one. Each dropped record is logged with its key and its error.
func SkipUpTo(n int64) Policy {
	return func(_ *RecordError, badSoFar int64) Action {
		if badSoFar > n {
			return Fail
		}
		return Drop
	}
}

// DeadLetterUpTo keeps up to n bad records of a run as dead letters, and ends the
// attempt at the next one. [Client.DeadLetters] lists them. [Client.Replay] tries them
// again.
func DeadLetterUpTo(n int64) Policy {
	return func(_ *RecordError, badSoFar int64) Action {
		if badSoFar > n {
			return Fail
		}
		return DeadLetter
	}
}

// RetryBadFor keeps each bad record as a dead letter, and tries it again by itself. It is
// for a record that is read before what it refers to, such as a row before its parent. At
// the end of each run, and in a long run every [Config.Slice], the flow takes these dead
// letters through the transform to the sink, oldest first. It does so until d has passed
// since the record was kept, or n tries have failed. Then it stays as an ordinary dead
// letter. If d or n is not above 0, it is one at once. [MaxBadRatio] bounds their share.
//
// Within a run, and at the end of a River job, the tries take half a slice, at most 30 s. The
// next ones go on where these have ended. An error that is marked by [Transient] or
// [RetryAfter] spends no try.
//
// If a sink is [Keyed], as an upsert is, and a record that was read later has written a row of the
// same key, the dead letter is not tried again: it would mostly replace a newer row. It stays open. With
// OnlyIfNewer, the record that was read later may be the older one: [Client.Replay] then compares them. Of two
// runs of the flow at the same time, each knows only the dead letters from before it began. With another
// sink, a record that is tried again is written after those that were read later.
//
// A record that failed when it was read is not tried again, and no record of a flow with
// [ToFenced] or [ToReplace] is. With a [Keyed] sink, neither is a record whose transform failed:
// its key is not known. A sink that is [Ordered] refuses the policy.
func RetryBadFor(d time.Duration, n int) Policy {
	return func(e *RecordError, _ int64) Action {
		e.retryFor, e.retries = d, n
		return DeadLetter
	}
}

// ratioOver is how many records a run must have read before a ratio says anything.
const ratioOver = 100

// MaxBadRatio asks policy as long as at most this part of the run's records is bad,
// such as 0.01 for one in a hundred. Above it, it ends the attempt. Any number of a
// run's first 100 records may be bad. A nil policy drops bad records.
func MaxBadRatio(ratio float64, policy Policy) Policy {
	return func(e *RecordError, badSoFar int64) Action {
		if e.Read > ratioOver && float64(badSoFar) > ratio*float64(e.Read) {
			return Fail
		}
		if policy == nil {
			return Drop
		}
		return policy(e, badSoFar)
	}
}
