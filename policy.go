package dataflow

// Action is what becomes of a bad record.
type Action int

// The actions of a [Policy].
const (
	// Fail ends the attempt with the record's error.
	Fail Action = iota
	// Drop leaves the record out and counts it as dropped.
	Drop
	// DeadLetter keeps the record as a [DeadLetterRecord], in the checkpoint's transaction,
	// and counts it as dead-lettered.
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

// Policy decides what becomes of a record that failed to be read, transformed or
// written. badSoFar counts the run's bad records, this one included. It is
// not asked about an error that was marked by [Permanent], [Transient] or
// [RetryAfter]: that ends the attempt, or makes it go on later, and the record is
// read again. Nil is [FailFast].
type Policy func(e *RecordError, badSoFar int64) Action

// FailFast ends the attempt at the first bad record. Nothing of its batch is
// written.
func FailFast(*RecordError, int64) Action { return Fail }

// SkipUpTo drops and counts up to n bad records of a run, and ends the attempt
// at the next. Each is logged with its key and its error.
func SkipUpTo(n int64) Policy {
	return func(_ *RecordError, badSoFar int64) Action {
		if badSoFar > n {
			return Fail
		}
		return Drop
	}
}

// DeadLetterUpTo keeps up to n bad records of a run as dead letters, and ends the
// attempt at the next. [Client.DeadLetters] lists them, [Client.Replay] tries them
// again.
func DeadLetterUpTo(n int64) Policy {
	return func(_ *RecordError, badSoFar int64) Action {
		if badSoFar > n {
			return Fail
		}
		return DeadLetter
	}
}

// ratioOver is how many records a run must have read before a ratio says anything.
const ratioOver = 100

// MaxBadRatio asks another policy as long as no more than this part of the run's
// records is bad, such as 0.01 for one in a hundred, and ends the attempt when it is
// more. Of the first 100 records of a run any number may be bad. A nil policy is
// SkipUpTo any number.
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
