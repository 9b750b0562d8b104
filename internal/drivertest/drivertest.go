// Package drivertest is the test suite that every [dataflow.Driver] must pass. Each rule
// of storage is a subtest of [Run], on a fresh database of its own. A driver's tests open
// that database and say which [Features] it has.
package drivertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/dataflow"
)

// Features are abilities that not every driver has. A rule that needs a missing feature is
// skipped and logged.
type Features struct {
	// Schemas: the tables can be put into a schema of a given name.
	Schemas bool
	// ConcurrentWriters: two transactions that write can be open at once.
	ConcurrentWriters bool
}

func (f Features) names() []string {
	var have []string
	if f.Schemas {
		have = append(have, schemas)
	}
	if f.ConcurrentWriters {
		have = append(have, concurrentWriters)
	}
	return have
}

const (
	schemas           = "Schemas"
	concurrentWriters = "ConcurrentWriters"
)

// Database is a fresh database that a driver's tests have opened. Its statements are in SQL
// that all databases understand.
type Database interface {
	// Driver is the driver to test.
	Driver() dataflow.Driver
	// Another opens the same database with connections of its own, like another process.
	Another(t *testing.T) dataflow.Driver
	// Close closes the connections of Driver.
	Close()

	// Exec runs a statement in a transaction of its own.
	Exec(ctx context.Context, sql string) error
	// ExecTx runs a statement in the transaction that TxFrom finds in ctx. It
	// returns false if there is none.
	ExecTx(ctx context.Context, sql string) (bool, error)
	// Rows returns the rows of a query.
	Rows(ctx context.Context, sql string) ([][]any, error)
	// Tables returns the names of a schema's tables. Empty: the default schema.
	Tables(ctx context.Context, schema string) ([]string, error)
	// Begin begins a transaction of the caller. end commits it or rolls it back.
	Begin(ctx context.Context) (tx dataflow.Tx, end func(commit bool) error, err error)
}

// group holds the rules of one subject.
type group struct {
	name  string
	cases []rule
	// empty: the database has no tables.
	empty bool
	// together: the rules hold for claims and ends of many runs too.
	together bool
	many     bool // they do
}

// rule is one subtest.
type rule struct {
	name  string
	run   func(t *test)
	needs string // a feature, or empty
}

func groups() []group {
	return []group{
		{name: "Migrate", cases: migrateRules(), empty: true},
		{name: "CheckSchema", cases: checkRules(), empty: true},
		{name: "Schema", cases: schemaRules(), empty: true},
		{name: "Flow", cases: flowRules()},
		{name: "FlowList", cases: flowListRules()},
		{name: "FlowDue", cases: flowDueRules()},
		{name: "FlowNext", cases: flowNextRules()},
		{name: "FlowPlan", cases: flowPlanRules()},
		{name: "After", cases: afterRules()},
		{name: "Tick", cases: tickRules()},
		{name: "Process", cases: processRules()},
		{name: "RunInsert", cases: runInsertRules()},
		{name: "RunTick", cases: runTickRules(), together: true},
		{name: "RunJob", cases: runJobRules()},
		{name: "RunList", cases: runListRules()},
		{name: "RunLive", cases: runLiveRules()},
		{name: "RunDue", cases: runDueRules()},
		{name: "RunActivity", cases: activityRules(), together: true},
		{name: "Schedule", cases: scheduleRules()},
		{name: "RunWaits", cases: runWaitsRules()},
		{name: "RunClaim", cases: claimRules(), together: true},
		{name: "Slot", cases: slotRules(), together: true},
		{name: "Group", cases: groupRules()},
		{name: "Race", cases: raceRules(), together: true},
		{name: "LockOrder", cases: lockOrderRules(), together: true},
		{name: "RunCheckpoint", cases: checkpointRules(), together: true},
		{name: "CommitCheckpoint", cases: commitRules()},
		{name: "Cursor", cases: cursorRules()},
		{name: "CursorSet", cases: cursorSetRules()},
		{name: "Backfill", cases: backfillRules(), together: true},
		{name: "BackfillSlot", cases: backfillSlotRules(), together: true},
		{name: "RunEnd", cases: endRules(), together: true},
		{name: "Together", cases: togetherRules()},
		{name: "Start", cases: startRules()},
		{name: "Trip", cases: tripRules(), together: true},
		{name: "Lease", cases: leaseRules(), together: true},
		{name: "RunStranded", cases: strandedRules()},
		{name: "RunCancel", cases: cancelRules()},
		{name: "Callback", cases: callbackRules(), together: true},
		{name: "DeadLetter", cases: letterRules()},
		{name: "Audit", cases: auditRules()},
		{name: "Prune", cases: pruneRules()},
		{name: "Total", cases: totalRules()},
		{name: "Upkeep", cases: upkeepRules()},
		{name: "Transition", cases: transitionRules(), together: true},
		{name: "Clock", cases: clockRules(), together: true},
		{name: "Tx", cases: txRules()},
		{name: "River", cases: riverRules()},
		{name: "Closed", cases: closedRules()},
	}
}

// Run runs the suite on a driver. open returns a fresh database. If migrated is true, open
// may return a database that is migrated already, to save time; else it must be empty.
func Run(t *testing.T, open func(t *testing.T, migrated bool) Database, features Features) {
	t.Helper()
	have := features.names()
	all := groups()
	for _, g := range all {
		if g.together {
			all = append(all, group{name: g.name + "/Together", cases: g.cases, many: true})
		}
	}
	for _, g := range all {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			var leftOut []string
			for _, r := range g.cases {
				if r.needs != "" && !slices.Contains(have, r.needs) {
					leftOut = append(leftOut, r.name+" (needs "+r.needs+")")
					continue
				}
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					own := newTest(t, open(t, !g.empty), features, !g.empty)
					own.together = g.many
					r.run(own)
				})
			}
			if len(leftOut) > 0 {
				t.Logf("left out for this driver: %s", strings.Join(leftOut, ", "))
			}
		})
	}
}
