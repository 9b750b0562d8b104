package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/activedataflow/dataflow"
)

// retentionLate is how long after its time a clean-up is overdue.
const retentionLate = 24 * time.Hour

// retention finds runs that should have been removed long ago.
func (s *session) retention(ctx context.Context) ([]finding, error) {
	o := s.config.Retention
	later := func(d time.Duration) time.Duration {
		switch {
		case d < 0:
			return d
		case d == 0:
			d = dataflow.DefaultRetention
		}
		return d + retentionLate
	}
	o.Success, o.Failed, o.Cancelled, o.SkippedTicks, o.DeadLetters = later(o.Success), later(o.Failed), later(o.Cancelled), later(o.SkippedTicks), later(o.DeadLetters)
	if o.OpenDeadLetters > 0 {
		o.OpenDeadLetters += retentionLate
	}
	o.Audit = later(cmp.Or(o.Audit, dataflow.DefaultAuditRetention))
	o.DryRun = true
	due, err := s.client.Cleanup(ctx, &o)
	if err != nil {
		return nil, err
	}
	if due.Total() == 0 {
		return []finding{ok("retention", "nothing is kept for longer than it should be")}, nil
	}
	return []finding{warning("retention", "%d runs, dead letters, and entries of skipped ticks and of the audit log should have been removed more than a day ago: a started client does that each hour unless Config.Retention keeps them; run %s cleanup",
		due.Total(), s.program.Name)}, nil
}

// lettersOld is for how long open dead letters may lie, and lettersMany how many of them are a fault.
const (
	lettersOld  = 30 * 24 * time.Hour
	lettersMany = 100
)

// letters finds dead letters at which nobody has looked for long. They are kept until somebody does.
func (s *session) letters(ctx context.Context) ([]finding, error) {
	old, err := s.client.Cleanup(ctx, &dataflow.RetentionOptions{
		Success: -1, Failed: -1, Cancelled: -1, SkippedTicks: -1, DeadLetters: -1, Audit: -1,
		OpenDeadLetters: lettersOld, DryRun: true,
	})
	if err != nil {
		return nil, err
	}
	n := old.OpenDeadLetters
	switch {
	case n == 0:
		return []finding{ok("letters", "no dead letter has been open for more than 30 days")}, nil
	case n < lettersMany:
		return []finding{ok("letters", "%s for more than 30 days: %s dead-letter list --open", plural(int(n), "dead letter has been open", "dead letters have been open"), s.program.Name)}, nil
	default:
		return []finding{warning("letters", "%d dead letters have been open for more than 30 days, and are kept until somebody closes them: see %s dead-letter list --open, mend what makes the records bad, and replay, resolve or discard them; or let Config.Retention.OpenDeadLetters remove old ones",
			n, s.program.Name)}, nil
	}
}

// sources asks the sources of this program's flows what they note, such as a key without a unique
// index, or rows that are held back. It also says which flows fail.
func (s *session) sources(ctx context.Context) ([]finding, error) {
	var found []finding
	for _, f := range s.config.Flows {
		why, err := s.client.Why(ctx, f.Name)
		if err != nil {
			found = append(found, warning("sources", "flow %q: %s", f.Name, message(err)))
			continue
		}
		for _, c := range why.Causes {
			if c.Code == dataflow.CauseNoted {
				found = append(found, warning("sources", "flow %q: %s", f.Name, s.inCommands(c.Text, f.Name)))
			}
			if slices.Contains([]dataflow.CauseCode{dataflow.CauseFailed, dataflow.CauseBackingOff}, c.Code) {
				found = append(found, warning("flow "+f.Name, "%s", s.inCommands(c.Text, f.Name)))
			}
		}
	}
	return found, ctx.Err()
}

// parts asks the parts of this program's flows what keeps them from working.
func (s *session) parts(ctx context.Context) ([]finding, error) {
	var found []finding
	for _, f := range s.config.Flows {
		ctx, cancel := context.WithTimeout(ctx, partTime)
		of, err := s.client.Flow(ctx, f.Name) // which knows where its next read begins
		if err != nil {
			of = f
		}
		some, examineErr := of.Examine(ctx)
		cancel()
		if errors.Is(err, dataflow.ErrNotFound) { // it has no run yet
			err = nil
		}
		err = errors.Join(err, examineErr)
		for _, part := range some {
			found = append(found, finding{Check: "flow " + f.Name, State: string(part.Level), Text: s.inCommands(part.Text, f.Name)})
		}
		if err != nil {
			found = append(found, warning("flow "+f.Name, "%s", message(err)))
		}
	}
	return found, ctx.Err()
}

// partTime is how long the parts of a flow may look for faults.
const partTime = 10 * time.Second

// unknownZones finds zones of schedules that this machine does not know.
func (s *session) unknownZones(ctx context.Context) ([]finding, error) {
	flows, err := s.flows(ctx, dataflow.FlowActive)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, f := range flows {
		var stored struct { // a Runtime with such a zone cannot be read here
			Zone string `json:"time_zone"`
		}
		_ = json.Unmarshal(f.ScheduleJSON, &stored) // the library has written it
		zone := stored.Zone
		if _, err := time.LoadLocation(zone); err != nil {
			found = append(found, warning("zones", "this machine does not know the time zone %q of flow %q, and cannot work its ticks: install its time zone data, such as the package tzdata, or import time/tzdata", zone, f.Name))
		}
	}
	return found, nil
}
