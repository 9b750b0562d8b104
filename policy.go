package dataflow

// Action is what becomes of a bad record.
type Action int

// The actions of a [Policy].
const (
	// Fail ends the attempt with the record's error.
	Fail Action = iota
	// Drop leaves the record out and counts it as dropped.
	Drop
)

// Policy decides what becomes of a record that failed to be read or
// transformed. badSoFar counts the run's bad records, this one included. It is
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
