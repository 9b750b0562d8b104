package schedule

import (
	"strconv"
	"strings"
)

// The overlap policies, as they are stored. [PolicyOf] says what each means.
const (
	Skip        = "skip"
	BufferOne   = "buffer_one"
	BufferAll   = "buffer_all"
	CancelOther = "cancel_other"

	allow = "allow_" // and a number
)

// The bounds of the overlap policies.
const (
	// MaxOverlap is the most slots that a policy has.
	MaxOverlap = 1000
	// MaxBuffer is how many ticks wait at most with BufferAll.
	MaxBuffer = 1000
)

// Policy decides about a tick that comes while runs of its flow are in progress or wait.
type Policy struct {
	// Slots is how many runs of the flow may be in progress at once. 0: there is no such policy.
	Slots int
	// Buffer is how many ticks wait for a slot. 0: a tick without a free slot is skipped.
	Buffer int
	// Cancels says that the newest run cancels the older ones.
	Cancels bool
}

// PolicyOf returns the policy that is stored under a name. An empty name is Skip.
func PolicyOf(name string) Policy {
	switch name {
	case "", Skip:
		return Policy{Slots: 1}
	case BufferOne:
		return Policy{Slots: 1, Buffer: 1}
	case BufferAll:
		return Policy{Slots: 1, Buffer: MaxBuffer}
	case CancelOther:
		return Policy{Slots: 1, Cancels: true}
	default:
		return Policy{Slots: allowed(name)}
	}
}

// Allow returns the name of the policy of n slots.
func Allow(n int) string { return allow + strconv.Itoa(n) }

// allowed is the inverse of Allow. 0: the name is none that Allow returns for 1 to MaxOverlap.
func allowed(name string) int {
	text, ok := strings.CutPrefix(name, allow)
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 1 || n > MaxOverlap || Allow(n) != name {
		return 0
	}
	return n
}

// Load is how many runs of a flow are in progress or wait.
type Load struct {
	InProgress int
	Waiting    int
	// WaitingTicks are the waiting runs that a schedule has started and that have not begun.
	WaitingTicks int
	// Backfills are the runs in progress or waiting that are backfills.
	Backfills int
}

// own is how many of the flow's own runs are in progress or wait.
func (l *Load) own() int { return l.InProgress + l.Waiting - l.Backfills }

// admits reports whether a tick may start a run.
func (o Policy) admits(l *Load) bool {
	switch {
	case o.Cancels:
		return true
	case o.Buffer > 0:
		return l.WaitingTicks < o.Buffer
	default:
		return l.own() < o.Slots
	}
}
