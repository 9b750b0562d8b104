package dataflow

import (
	"cmp"
	"fmt"
	"time"
)

const (
	defaultPage = 100
	maxPage     = 10_000
)

// FlowListParams choose and page the flows that [Client.Flows] lists, in the
// order of their names. The zero value lists the first 100.
type FlowListParams struct {
	// State lists only flows in this state. Empty: all.
	State FlowState
	// Due lists only active flows whose next tick has come. Overdue lists only those
	// whose next tick came at least an hour ago ([OverdueAfter]).
	Due     bool
	Overdue bool
	// Trouble lists only flows that somebody should look at: failures have stopped their ticks,
	// their last run or attempt failed, or they are active and their next tick came at least a
	// minute ago ([LateAfter]).
	Trouble bool
	// LastRuns is how many of each flow's newest runs are read into Flow.LastRuns, up to 100.
	// 0: none.
	LastRuns int
	// After lists the flows after this name: the name of the last flow of the page
	// before. Empty: from the beginning.
	After string
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// RunListParams choose and page the runs that [Client.Runs] lists, newest
// first. The zero value lists the newest 100.
type RunListParams struct {
	// Flow lists only runs of the flow of this name. Empty: all.
	Flow string
	// States lists only runs in one of these states. Empty: all.
	States []RunState
	// Trigger lists only runs with this trigger. Empty: all.
	Trigger Trigger
	// Due lists only pending runs whose RunAfter has come. Overdue lists only those
	// whose RunAfter came at least an hour ago ([OverdueAfter]).
	Due     bool
	Overdue bool
	// Backfill lists only the runs of this backfill, or of this first load in ranges, of the Flow,
	// with those that were retried: the Scope of its first run ([Run].Scope). The Scope of a range
	// lists the runs of that range. It needs the Flow, and is not for Due and Overdue. Empty: all.
	Backfill string
	// Before lists the runs older than this id: the id of the last run of the page
	// before. 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// TickListParams choose and page what [Client.SkippedTicks] lists, newest first.
// The zero value lists the newest 100 of all flows.
type TickListParams struct {
	// Flow lists only ticks of the flow of this name. Empty: all.
	Flow string
	// Reason lists only ticks that were skipped for this reason. Empty: all.
	Reason SkipReason
	// Before lists the entries older than this id: the id of the last entry of the page
	// before. 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// DeadLetterListParams choose and page what [Client.DeadLetters] lists, newest first.
// The zero value lists the newest 100.
type DeadLetterListParams struct {
	// Flow lists only dead letters of the flow of this name. Empty: all.
	Flow string
	// Run lists only dead letters of this run. 0: all.
	Run int64
	// Open lists only dead letters that are open: neither replayed, nor resolved, nor
	// discarded.
	Open bool
	// State lists only dead letters in this state. Empty: all.
	State DeadLetterState
	// Before lists the dead letters older than this id: the id of the last one of the
	// page before. 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// CursorHistoryParams page what [Client.CursorHistory] lists. The zero value lists the
// newest 100.
type CursorHistoryParams struct {
	// FlowID is the flow's id. The client sets it.
	FlowID int64
	// Before lists the changes older than this id: the id of the last one of the page
	// before. 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// AuditListParams choose and page what [Client.Audit] lists, newest first. The zero value lists
// the newest 100.
type AuditListParams struct {
	// Flow lists only what was done to the flow of this name. Empty: all.
	Flow string
	// Actor lists only what this actor did. Empty: all.
	Actor string
	// Before lists the entries older than this id: the id of the last one of the page before.
	// 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// listParams is a pointer to the parameters of a list.
type listParams[P any] interface {
	*P
	limit() *int
}

func (p *FlowListParams) limit() *int       { return &p.Limit }
func (p *RunListParams) limit() *int        { return &p.Limit }
func (p *TickListParams) limit() *int       { return &p.Limit }
func (p *DeadLetterListParams) limit() *int { return &p.Limit }
func (p *CursorHistoryParams) limit() *int  { return &p.Limit }
func (p *AuditListParams) limit() *int      { return &p.Limit }

// page copies a list's parameters, checks the Limit, and fills in its default. params
// may be nil.
func page[P any, L listParams[P]](params L) (P, error) {
	var p P
	if params != nil {
		p = *params
	}
	limit := L(&p).limit()
	if *limit < 0 || *limit > maxPage {
		return p, &ConfigError{Field: "Limit", Reason: fmt.Sprintf("%d is out of range: use 1 to %d, or 0 for the default, %d", *limit, maxPage, defaultPage)}
	}
	*limit = cmp.Or(*limit, defaultPage)
	return p, nil
}

// TotalsOptions choose what [Client.Totals] adds up. The zero value lists the last 30 days of
// all flows.
type TotalsOptions struct {
	// Flow adds up only the runs of the flow of this name. Empty: all.
	Flow string
	// From and To are the first and the last day. Only their date counts, in UTC. Zero: 29 days
	// before To, and today.
	From, To time.Time
}

// DailyTotal is what the runs of a flow did that ended on a day in a state.
type DailyTotal struct {
	FlowID   int64
	FlowName string
	Day      string // in UTC, such as 2006-01-02
	State    RunState
	Runs     int64
	Counters Counters      // of all these runs
	Busy     time.Duration // from the start to the end of each run
}
