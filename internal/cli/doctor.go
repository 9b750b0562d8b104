package cli

import (
	"cmp"
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
	var strict, asJSON, shown bool
	examine := a.onAny(func(ctx context.Context, s *session, _ []string) error {
		findings, err := s.examine(ctx)
		if err != nil {
			return &databaseError{err}
		}
		shown = true
		err = s.show(findings, func(p *page) {
			p.table([]string{"CHECK", "STATE", ""}, jsonview.All(findings, func(f finding) []string { return []string{f.Check, f.State, f.Text} }))
		})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(findings, func(f finding) bool { return f.State == "problem" }); i >= 0 {
			return &databaseError{fmt.Errorf("%s: %s", findings[i].Check, findings[i].Text)}
		}
		if i := slices.IndexFunc(findings, func(f finding) bool { return f.State == "warning" }); i >= 0 && strict {
			return fmt.Errorf("%s: %s", findings[i].Check, findings[i].Text)
		}
		return nil
	})
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for faults in the database and the processes", Args: cobra.NoArgs,
		Long: `Look for faults, and say what mends each of them:

- versions, the schema, missing indexes, time zones, the clocks;
- pools that are too small, and queues and flows that no process works;
- what should have been removed long ago, dead letters that nobody looks at, and what sources
  note about their keys;
- what sources and sinks need elsewhere, such as the settings of a server whose log is followed.

On Postgres it looks for these too: a standby or a read-only server, a pooler that loses
notifications, a role that may not see other transactions, timeouts that batches exceed, too few
connections for another process, tables that were not analysed or hold many dead rows, slots that
hold the log, and collations of another version.

The exit code is 5 if there is a problem that keeps flows from working. Warnings leave it 0, or
make it 1 with --strict.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				a.format = "json"
			}
			err := examine(cmd, args)
			if err != nil && !shown && a.format == "json" { // whoever reads JSON gets some, too
				if unwritten := a.show([]finding{problem("database", "%s", strings.Join(strings.Fields(message(err)), " "))}, nil); unwritten != nil {
					return unwritten
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 if there are warnings")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as -o json")
	return a.example(cmd, "doctor", "doctor --strict --json")
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
	if s.db.Postgres != nil {
		server, err := s.writable(ctx)
		if err != nil {
			return nil, err
		}
		if found = append(found, server...); server[0].State == "problem" { // the others would say the same
			return found, nil
		}
	}
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
	indexes, err := s.indexes(ctx)
	if err != nil {
		return nil, err
	}
	found = append(found, indexes...)
	checks := []func(context.Context) ([]finding, error){s.unworked, s.zones, s.unknownZones}
	if !slices.ContainsFunc(indexes, func(f finding) bool { return f.State != "ok" }) { // they need indexes
		checks = append(checks, s.untold, s.groups)
	}
	if s.db.Postgres != nil {
		checks = append(checks, s.role, s.timeouts, s.tables, s.slots, s.collations)
		if pooler[0].State == "ok" { // otherwise its connections are those that count
			checks = append(checks, s.room)
		}
	}
	checks = append(checks, s.sources, s.parts, s.retention, s.letters)
	for _, check := range checks {
		more, err := check(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

const root = "github.com/activedataflow/dataflow"

// programVersion is the version of this program's module, and the revision that it was built from.
func programVersion(info *debug.BuildInfo, known bool) string {
	if !known {
		return "of an unknown version"
	}
	version, revision := cmp.Or(info.Main.Version, "(devel)"), ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = ", revision " + s.Value + revision
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += ", modified"
		}
	}
	return version + revision
}

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
		return warning("clock", "the database's clock is %s off this machine's: logs and progress use this machine's, leases and ticks the database's: let both follow a time server, as by chrony", off.Round(time.Millisecond)), nil
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
			found = append(found, warning("pool", "%s; some runs wait until others have ended: let the pool have %s, or divide the flows among more processes", p, plural(p.AllAtOnce, "connection", "connections")))
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
	river, unread := dataflow.RiverQueues(ctx, s.client)
	if unread != nil && ctx.Err() != nil {
		return nil, unread
	}
	// Only River knows the queues of a process that joined its service's River client.
	seen := func(queue string) bool {
		return unread != nil || slices.ContainsFunc(river, func(q *dataflow.RiverQueue) bool { return q.Name == queue })
	}
	var codeless, queues []string
	waits := make(map[string][]string) // by queue: its active flows
	for _, f := range flows {
		if !f.Runtime.Settings().Enabled && f.Runtime.Type() != "unknown" {
			continue
		}
		if !slices.ContainsFunc(processes, func(p *dataflow.Process) bool { return slices.Contains(p.Flows, f.Name) }) {
			codeless = append(codeless, f.Name)
		}
		job, isJob := f.Runtime.(interface{ QueueName() string })
		if isJob {
			waits[job.QueueName()] = append(waits[job.QueueName()], f.Name)
		}
		worked := func(p *dataflow.Process) bool {
			return p.Queues == nil && seen(job.QueueName()) || slices.Contains(p.Queues, job.QueueName())
		}
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
		found[0] = warning("processes", "no started client is alive, and nothing runs by itself: %s", s.startOne())
	case len(codeless) > 0:
		found = append(found, warning("flows", "no live process has the code of: %s: start one that has, or stop their ticks by %s flow pause NAME", strings.Join(codeless, ", "), s.program.Name))
	case len(flows) > 0:
		found = append(found, ok("flows", "each active flow has a live process with its code"))
	}
	paused := pausedQueues(river, unread, waits)
	found = append(found, paused...)
	switch {
	case len(queues) > 0:
		found = append(found, warning("queues", "no live process works the River queues: %s: start a client that has a flow of the queue, or add it to the Queues of the service's River client", strings.Join(queues, ", ")))
	case len(paused) == 0:
		found = append(found, ok("queues", "each River queue of an active flow is worked by a live process"))
	}
	return found, nil
}

// pausedQueues finds the queues of active flows that somebody has paused in River.
func pausedQueues(queues []*dataflow.RiverQueue, unread error, flowsOf map[string][]string) []finding {
	if len(flowsOf) == 0 {
		return nil
	}
	if unread != nil { // for example, the schema's name is one that River refuses
		return []finding{warning("queues", "River's queues cannot be read: %s", message(unread))}
	}
	var found []finding
	for _, q := range queues {
		if names := flowsOf[q.Name]; q.PausedAt != nil && len(names) > 0 {
			found = append(found, warning("queues", "the River queue %s has been paused since %s, and so no run starts of: %s: resume it in River UI, or by QueueResume of River's client",
				q.Name, q.PausedAt.UTC().Format(time.RFC3339), strings.Join(names[:min(len(names), 10)], ", ")))
		}
	}
	return found
}

// startOne says how a started client comes to be.
func (s *session) startOne() string {
	if len(s.config.Flows) > 0 {
		return "run " + s.program.Name + " work, or start the service that has the flows"
	}
	return "start the service that has the flows"
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

// groups finds the groups of which the program declares another limit than the stored one.
func (s *session) groups(ctx context.Context) ([]finding, error) {
	all, err := s.store.GroupList(ctx)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, g := range all {
		own, declared := s.config.Groups[g.Name]
		switch {
		case declared && own != g.Limit:
			found = append(found, warning("groups", "group %s: this program declares the limit %d, and %d holds, which %s set at %s, as the last one to be registered: give all programs the same limit, and register the right one by %s migrate up", g.Name, own, g.Limit, g.SetBy, g.SetAt.Format(time.RFC3339), s.program.Name))
		default:
			found = append(found, ok("groups", "group %s: %d of %s in progress", g.Name, g.InProgress, plural(g.Limit, "run", "runs")))
		}
	}
	return found, nil
}
