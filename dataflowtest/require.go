package dataflowtest

import (
	"fmt"
	"strings"

	"github.com/activedataflow/dataflow"
)

// RequireRun fails the test unless the newest run of a flow is in a state. It returns the run.
func (k *Kit) RequireRun(flow string, state dataflow.RunState) *dataflow.Run {
	k.t.Helper()
	runs := k.runs(&dataflow.RunListParams{Flow: flow, Limit: 1})
	switch {
	case len(runs) == 0:
		k.fail("flow %q has no run: want one that is %s", flow, state)
	case runs[0].State != state:
		k.fail("run %d of flow %q is %s: want %s%s", runs[0].ID, flow, runs[0].State, state, because(runs[0]))
	}
	return runs[0]
}

func because(run *dataflow.Run) string {
	if run.Error == "" {
		return ""
	}
	return fmt.Sprintf("; its last error is %q", run.Error)
}

// RequireEnqueued fails the test unless a run of the flow is pending. It returns the oldest.
func (k *Kit) RequireEnqueued(flow string) *dataflow.Run {
	k.t.Helper()
	pending := k.pending(flow)
	if len(pending) == 0 {
		k.fail("no run of flow %q is pending", flow)
	}
	return pending[len(pending)-1]
}

// RequireNotEnqueued fails the test if a run of the flow is pending.
func (k *Kit) RequireNotEnqueued(flow string) {
	k.t.Helper()
	if pending := k.pending(flow); len(pending) > 0 {
		k.fail("%d runs of flow %q are pending: want none; run %d is due at %s", len(pending), flow, pending[0].ID, pending[0].RunAfter)
	}
}

// pending returns the pending runs of a flow, newest first.
func (k *Kit) pending(flow string) []*dataflow.Run {
	k.t.Helper()
	return k.runs(&dataflow.RunListParams{Flow: flow, States: []dataflow.RunState{dataflow.RunPending}, Limit: 10_000})
}

// mostNamed is how many rows of a kind RequireExactlyOnce names.
const mostNamed = 5

// RequireExactlyOnce fails the test unless got has each row of want once, and no other, in any
// order. A row that want has twice must come twice. It names the rows that were lost, that came too
// often, and that nobody wanted.
func RequireExactlyOnce[T comparable](t TB, want, got []T) {
	t.Helper()
	wanted, came := count(want), count(got)
	var lost, doubled, foreign []string
	for _, row := range distinct(want) {
		switch n, m := wanted[row], came[row]; {
		case m < n:
			lost = append(lost, fmt.Sprintf("%v (%d of %d)", row, m, n))
		case m > n:
			doubled = append(doubled, fmt.Sprintf("%v (%d times, want %d)", row, m, n))
		}
	}
	for _, row := range distinct(got) {
		if wanted[row] == 0 {
			foreign = append(foreign, fmt.Sprintf("%v", row))
		}
	}
	var faults []string
	for _, kind := range []struct {
		what string
		rows []string
	}{{"lost", lost}, {"too often", doubled}, {"not wanted", foreign}} {
		if n := len(kind.rows); n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s: %s", n, kind.what, named(kind.rows)))
		}
	}
	if len(faults) > 0 {
		fail(t, "not exactly once: %s", strings.Join(faults, "; "))
	}
}

func named(rows []string) string {
	if len(rows) > mostNamed {
		return strings.Join(rows[:mostNamed], ", ") + " and others"
	}
	return strings.Join(rows, ", ")
}

func count[T comparable](rows []T) map[T]int {
	n := make(map[T]int, len(rows))
	for _, row := range rows {
		n[row]++
	}
	return n
}

// distinct returns each row once, in the order of the first.
func distinct[T comparable](rows []T) []T {
	seen := make(map[T]bool, len(rows))
	var all []T
	for _, row := range rows {
		if !seen[row] {
			seen[row], all = true, append(all, row)
		}
	}
	return all
}
