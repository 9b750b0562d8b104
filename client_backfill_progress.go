package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// BackfillProgress is how far a backfill has come, with all of its ranges. See [Flow.Backfills].
type BackfillProgress struct {
	// Name is the Scope of its first run. RunListParams.Backfill lists its runs.
	Name string
	// Ranges is how many there are: 1 unless it was made by BackfillRanges. The others count them
	// by the state of their newest run.
	Ranges     int
	Pending    int
	InProgress int
	Succeeded  int
	Failed     int
	Cancelled  int
	// Counters are those of all its runs.
	Counters Counters
	// Done is the share of it that is done, from 0 to 1. Ranges count alike, because they are of
	// about the same size. A range in progress counts as 0 if its source cannot tell how many
	// records there are.
	Done float64
	// CreatedAt is when it was asked for. StartedAt is when the first of its runs started, nil
	// before that. EndedAt is when the last one ended, nil before that.
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time
	// Left is how long the rest takes if it goes on as it went since StartedAt. Nil: nothing is
	// left that could be worked, or it is not known.
	Left *time.Duration
	// From is where it begins, nil for the beginning, and Until where it ends, nil for the end.
	From  json.RawMessage
	Until json.RawMessage
	// Actor and Reason say who asked for it and why.
	Actor  string
	Reason string
}

// mostBackfills is how many backfills are looked at.
const mostBackfills = 10

// Backfills returns how far those backfills of the flow have come that have not ended, and the
// newest one, also if it has ended. A first load in ranges counts as a backfill. The newest is the
// first. It returns the newest ten at most. The flow must be one that a client has returned.
func (f *Flow) Backfills(ctx context.Context) ([]*BackfillProgress, error) {
	fail := func(err error) ([]*BackfillProgress, error) {
		return nil, public(fmt.Errorf("look at the backfills of flow %q: %w", f.Name, private(err)))
	}
	if f.client == nil {
		return fail(errors.New("the flow is not one that a client has returned"))
	}
	store := f.client.store
	live, err := store.RunLive(ctx, f.ID)
	if err != nil {
		return fail(err)
	}
	var newest []*Run
	for _, trigger := range []Trigger{TriggerBackfill, TriggerFirstLoad} {
		runs, err := store.RunList(ctx, &RunListParams{Flow: f.Name, Trigger: trigger, Limit: 1})
		if err != nil {
			return fail(err)
		}
		if len(newest) == 0 || len(runs) > 0 && runs[0].ID > newest[0].ID {
			newest = runs
		}
	}
	var firsts []int64
	for _, run := range slices.Concat(live, newest) {
		name, _ := run.rangeOf()
		if first, err := strconv.ParseInt(name, 10, 64); err == nil { // it has the scope of a backfill
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	firsts = slices.Compact(firsts)
	slices.Reverse(firsts)
	now, err := store.Now(ctx)
	if err != nil {
		return fail(err)
	}
	all := []*BackfillProgress{}
	for _, first := range firsts[:min(len(firsts), mostBackfills)] {
		runs, err := store.RunList(ctx, &RunListParams{Flow: f.Name, Backfill: strconv.FormatInt(first, 10), Limit: maxPage})
		if err != nil {
			return fail(err)
		}
		if len(runs) > 0 { // they may have been cleaned up meanwhile
			all = append(all, backfillProgress(runs, now))
		}
	}
	return all, nil
}

// backfillProgress is the progress of a backfill with these runs, newest first, at a time.
func backfillProgress(runs []*Run, now time.Time) *BackfillProgress {
	oldest := runs[len(runs)-1]
	p := &BackfillProgress{CreatedAt: oldest.CreatedAt, From: oldest.FromCursor, Actor: oldest.Actor, Reason: oldest.Reason}
	p.Name, _ = oldest.rangeOf()
	newest, before := make(map[string]*Run), make(map[string]int64) // by range: its run, and what runs before that have read
	for _, run := range runs {
		p.Counters = p.Counters.Add(run.Counters)
		if run.StartedAt != nil && (p.StartedAt == nil || run.StartedAt.Before(*p.StartedAt)) {
			p.StartedAt = run.StartedAt
		}
		if run.EndedAt != nil && (p.EndedAt == nil || run.EndedAt.After(*p.EndedAt)) {
			p.EndedAt = run.EndedAt
		}
		if newest[run.Scope] == nil {
			newest[run.Scope] = run
		} else {
			before[run.Scope] += run.Counters.Read
		}
	}
	p.Ranges = len(newest)
	last, lastPart, left := oldest, 0, 0.0
	for scope, run := range newest {
		if _, part := run.rangeOf(); part > lastPart {
			last, lastPart = run, part
		}
		share := shareOf(run, before[scope])
		switch p.Done += share; run.State {
		case RunPending:
			p.Pending++
			left += 1 - share
		case RunInProgress:
			p.InProgress++
			left += 1 - share
		case RunSuccess:
			p.Succeeded++
		case RunFailed:
			p.Failed++
		case RunCancelled:
			p.Cancelled++
		}
	}
	if p.Until = last.UntilCursor; stored.Same(p.From, json.RawMessage("null")) { // it has begun at the beginning
		p.From = nil
	}
	goesOn := p.Pending+p.InProgress > 0
	if goesOn {
		p.EndedAt = nil
	}
	if goesOn && p.Done > 0 && p.StartedAt != nil {
		d := nanoseconds(float64(now.Sub(*p.StartedAt)) * left / p.Done)
		p.Left = &d
	}
	p.Done /= float64(p.Ranges)
	return p
}

// shareOf returns how much of a range is done, by its newest run, and what runs before that have
// read of it.
func shareOf(run *Run, before int64) float64 {
	switch {
	case run.State == RunSuccess:
		return 1
	case run.Total == nil || *run.Total <= 0:
		return 0
	default:
		return min(1, float64(before+run.Counters.Read)/float64(before+*run.Total))
	}
}
