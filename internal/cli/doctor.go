package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// finding is the result of one check of the doctor.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning, problem
	Text  string `json:"text"`
}

func ok(check, format string, args ...any) finding {
	return finding{Check: check, State: "ok", Text: fmt.Sprintf(format, args...)}
}

func warning(check, format string, args ...any) finding {
	return finding{Check: check, State: "warning", Text: fmt.Sprintf(format, args...)}
}

func problem(check, format string, args ...any) finding {
	return finding{Check: check, State: "problem", Text: fmt.Sprintf(format, args...)}
}

func (a *app) doctorCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "doctor", Short: "Look for faults in the database and the processes", Args: cobra.NoArgs,
		Long: `Look for faults: versions, the schema, the clocks, a pooler that loses notifications, pools that
are too small for the flows, missing indexes, and queues and flows that no process works. The exit code is 5 if there is a problem
that keeps flows from working. Warnings leave it 0.`,
		RunE: a.onAny(func(ctx context.Context, s *session, _ []string) error {
			findings, err := s.examine(ctx)
			if err != nil {
				return &databaseError{err}
			}
			err = s.show(findings, func(p *page) {
				p.table([]string{"CHECK", "STATE", ""}, jsonview.All(findings, func(f finding) []string { return []string{f.Check, f.State, f.Text} }))
			})
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(findings, func(f finding) bool { return f.State == "problem" }); i >= 0 {
				return &databaseError{fmt.Errorf("%s: %s", findings[i].Check, findings[i].Text)}
			}
			return nil
		}),
	}, "doctor", "doctor -o json")
}

func (s *session) examine(ctx context.Context) ([]finding, error) {
	version, err := s.serverVersion(ctx)
	if err != nil {
		return nil, err
	}
	found := []finding{ok("versions", "%s; %s", programVersions(), version)}
	var pooler []finding
	if s.db.Postgres != nil {
		pooler = append(pooler, s.pooler(ctx))
		if pooler[0].State == "problem" { // no statement of the client is executed
			return append(found, pooler...), nil
		}
	}
	skew, err := s.skew(ctx)
	if err != nil {
		return nil, err
	}
	found = append(append(found, skew), pooler...)
	if err := s.store.CheckSchema(ctx); err != nil {
		return append(found, problem("schema", "%s", s.inCommands(message(err), ""))), ctx.Err()
	}
	missing, err := s.missingTables(ctx)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return append(found, problem("schema", "the schema has this program's version, but tables are missing: %s; restore them from a backup", strings.Join(missing, ", "))), nil
	}
	found = append(found, ok("schema", "the tables have this program's version"))
	found = append(found, s.pools()...)
	for _, check := range []func(context.Context) ([]finding, error){s.indexes, s.unworked, s.zones, s.untold} {
		more, err := check(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

const root = "github.com/activedataflow/dataflow"

// programVersions are the versions of dataflow, River and Go in this program.
func programVersions() string {
	own, river := "(devel)", "unknown"
	if info, known := debug.ReadBuildInfo(); known {
		for _, m := range append(info.Deps, &info.Main) {
			switch m.Path {
			case root:
				own = orDash(m.Version)
			case "github.com/riverqueue/river":
				river = m.Version
			}
		}
	}
	return fmt.Sprintf("dataflow %s, River %s, %s", own, river, runtime.Version())
}

func (s *session) serverVersion(ctx context.Context) (version string, err error) {
	if s.db.Postgres != nil {
		err = s.db.Postgres.QueryRow(ctx, "show server_version").Scan(&version)
		return "Postgres " + version, err
	}
	err = s.db.SQLite.QueryRowContext(ctx, "select sqlite_version()").Scan(&version)
	return "SQLite " + version, err
}

// skewMost is how much the clocks may differ. This machine's clock matters only for what
// people read.
const skewMost = 2 * time.Second

func (s *session) skew(ctx context.Context) (finding, error) {
	before := s.Now()
	theirs, err := s.store.Now(ctx)
	if err != nil {
		return finding{}, err
	}
	took := s.Now().Sub(before)
	// The database read its clock some time in between.
	off := theirs.Sub(before.Add(took / 2))
	if off.Abs() > skewMost+took/2 {
		return warning("clock", "the database's clock is %s off this machine's: logs and progress use this machine's, leases and ticks the database's", off.Round(time.Millisecond)), nil
	}
	return ok("clock", "this machine's clock and the database's differ by less than %s", skewMost+(took/2).Round(time.Second)), nil
}

// pools says how many connections each pool needs for the flows of this program. A program
// without flows cannot count that.
func (s *session) pools() []finding {
	if len(s.config.Flows) == 0 {
		return nil
	}
	var found []finding
	for _, p := range s.client.PoolNeeds() {
		if p.Short() {
			found = append(found, warning("pool", "%s; some runs wait until others have ended", p))
		} else {
			found = append(found, ok("pool", "%s", p))
		}
	}
	return found
}

func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// zones finds the time zones about which processes disagree.
func (s *session) zones(ctx context.Context) ([]finding, error) {
	conflicts, err := s.client.ZoneConflicts(ctx)
	if err != nil {
		return nil, err
	}
	if len(conflicts) == 0 {
		return []finding{ok("zones", "the live processes and the database agree about the time zones of schedules")}, nil
	}
	found := make([]finding, len(conflicts))
	for i, c := range conflicts {
		found[i] = warning("zones", "%s", c)
	}
	return found, nil
}

// unworked finds the flows and queues that no live process works.
func (s *session) unworked(ctx context.Context) ([]finding, error) {
	processes, err := s.client.Processes(ctx)
	if err != nil {
		return nil, err
	}
	flows, err := s.flows(ctx, dataflow.FlowActive)
	if err != nil {
		return nil, err
	}
	var codeless, queues []string
	for _, f := range flows {
		if !f.Runtime.Settings().Enabled && f.Runtime.Type() != "unknown" {
			continue
		}
		if !slices.ContainsFunc(processes, func(p *dataflow.Process) bool { return slices.Contains(p.Flows, f.Name) }) {
			codeless = append(codeless, f.Name)
		}
		job, isJob := f.Runtime.(interface{ QueueName() string })
		worked := func(p *dataflow.Process) bool { return p.Queues == nil || slices.Contains(p.Queues, job.QueueName()) }
		if isJob && !slices.ContainsFunc(processes, worked) && !slices.Contains(queues, job.QueueName()) {
			queues = append(queues, job.QueueName())
		}
	}
	found := []finding{ok("processes", "%s alive", plural(len(processes), "started client is", "started clients are"))}
	for _, p := range processes {
		if p.Polls != "" && s.db.Postgres != nil { // nobody is told anything by SQLite
			found = append(found, ok("processes", "%s finds new runs of flows on heartbeat by its poll: %s", p.ID, p.Polls))
		}
	}
	switch {
	case len(processes) == 0 && len(flows) > 0:
		found[0] = warning("processes", "no started client is alive: nothing runs by itself")
	case len(codeless) > 0:
		found = append(found, warning("flows", "no live process has the code of: %s", strings.Join(codeless, ", ")))
	case len(flows) > 0:
		found = append(found, ok("flows", "each active flow has a live process with its code"))
	}
	if len(queues) > 0 {
		return append(found, warning("queues", "no live process works the River queues: %s", strings.Join(queues, ", "))), nil
	}
	return append(found, ok("queues", "each River queue of an active flow is worked by a live process")), nil
}

// untoldLate is how long after its end a run should have been told.
const untoldLate = time.Minute

// untoldMost is how many ends are counted.
const untoldMost = 1000

// untold finds the ends of runs that Config.OnRunEnded was not told, and those that it never will be.
func (s *session) untold(ctx context.Context) ([]finding, error) {
	waiting, err := s.store.CallbackList(ctx, &dataflow.CallbackListParams{Limit: untoldMost})
	if err != nil {
		return nil, err
	}
	given, err := s.store.CallbackList(ctx, &dataflow.CallbackListParams{GivenUp: true, Limit: untoldMost})
	if err != nil {
		return nil, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	late := slices.DeleteFunc(waiting, func(u *dataflow.UntoldRun) bool { return u.GaveUp() || now.Sub(u.EndedAt) < untoldLate })
	var found []finding
	for _, c := range []struct {
		what string
		runs []*dataflow.UntoldRun
	}{{"is not told yet", late}, {"was never told", given}} {
		if len(c.runs) > 0 {
			u := c.runs[0]
			found = append(found, warning("callbacks", "the end of %s %s; run %d of flow %s: %s", plural(len(c.runs), "run", "runs"), c.what, u.RunID, u.FlowName, u.Why()))
		}
	}
	return found, nil
}
