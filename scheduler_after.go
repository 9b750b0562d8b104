package dataflow

// A flow that runs after another one. The success of that one is in its row, stored by the commit
// that ended its run; the flow's place says which success it has been started for. So a crash
// loses nothing, and starts nothing twice.

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setAfter stores which flows are followed. It refuses a circle.
func setAfter(ctx context.Context, q Queries, set []*registering) error {
	for _, one := range set {
		if one.isNew && one.def.After == (After{}) {
			continue
		}
		if err := q.AfterSet(ctx, one.rec.ID, one.def.After); err != nil {
			return err
		}
		if one.def.After == (After{}) {
			continue
		}
		chain, err := q.AfterChain(ctx, one.rec.Name)
		if err != nil {
			return err
		}
		if slices.Contains(chain, one.rec.Name) {
			return &ConfigError{Field: "After", Reason: circle(one.rec.Name, chain) + ": none of them would ever be the first: take one After away"}
		}
	}
	return nil
}

// circle says how flows follow each other.
func circle(name string, chain []string) string {
	text := "the flow follows " + strconv.Quote(chain[0])
	for i, next := range chain[1:] {
		text += ", " + strconv.Quote(chain[i]) + " follows " + strconv.Quote(next)
		if next == name {
			break
		}
	}
	return text
}

// anyFollows reports whether one of the flows follows another.
func anyFollows(flows []*Flow) bool {
	return slices.ContainsFunc(flows, func(f *Flow) bool { return f.opts.After != (After{}) })
}

// fireAfter starts the flows that follow another one which has succeeded since. Any number of
// processes may call it at once.
func (s *scheduler) fireAfter(ctx context.Context) ([]*Run, error) {
	if !s.follow {
		return nil, nil
	}
	all, err := s.store.AfterDue(ctx, 0)
	if err != nil {
		return nil, err
	}
	var runs []*Run
	for _, due := range all {
		if s.flows.knownByID(due.FlowID) == nil {
			continue
		}
		run, err := s.fireOneAfter(ctx, due.FlowID)
		if ctx.Err() != nil {
			return runs, err
		}
		if err != nil {
			s.log.WarnContext(ctx, "dataflow: could not start a flow that follows another one; trying again",
				slog.Int64("flow_id", due.FlowID), slog.String("after", due.Upstream), slog.String(logError, err.Error()))
		} else if run != nil {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// fireOneAfter starts a flow and moves its place, in one transaction. It returns nil if the flow
// is not to be started any more.
func (s *scheduler) fireOneAfter(ctx context.Context, id int64) (run *Run, err error) {
	err = s.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := s.store.With(tx)
		if err != nil {
			return err
		}
		rec, _, err := q.FlowLock(ctx, id)
		if err != nil {
			return err
		}
		due, err := q.AfterDue(ctx, id) // again, now that no other process can move its place
		if err != nil || len(due) == 0 {
			return err
		}
		f := s.flows.bind(rec)
		if afterHeld(f) != "" {
			return nil
		}
		run, err = f.startTx(ctx, tx, &request{trigger: TriggerAfter, reason: fmt.Sprintf("run %d of flow %q succeeded", due[0].RunID, due[0].Upstream)}, time.Time{})
		if err != nil {
			return err
		}
		return q.AfterDone(ctx, due[0])
	})
	if err != nil || run == nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "dataflow: flow starts after another one", slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.String(logReason, run.Reason))
	s.cancelReplaced(ctx, s.flows.knownByID(id))
	return run, nil
}

// afterHeld says why a flow is not started after another one now. Empty: nothing is in the way.
func afterHeld(f *Flow) string {
	var why []string
	if !f.IsActive() {
		why = append(why, "paused")
	}
	if !f.Runtime.Settings().Enabled {
		why = append(why, "disabled")
	}
	if p, err := planOf(&f.FlowRecord); err != nil || p.Tripped(f.TrippedAt) {
		why = append(why, "stopped by failures")
	}
	return strings.Join(why, " and ")
}
