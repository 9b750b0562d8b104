package dataflow

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/stored"
)

// The defaults of a [Config].
const (
	DefaultMaxWorkers   = 10
	DefaultPollInterval = time.Second
	DefaultLease        = 10 * time.Second
	DefaultSlice        = time.Minute
	DefaultMaxRescues   = 5
)

// Config holds the settings of a [Client]. The zero value is ready to use: a client
// without flows, which starts and lists runs that other processes work.
type Config struct {
	// Flows are the flows whose code this process has. Start registers them.
	Flows []*Flow

	// Groups are the limits of groups of flows, by the groups' names: how many runs of the flows of
	// a group may be in progress at once, in all processes together. See [FlowOptions].Group. The
	// database holds the limit. If processes declare different ones, the last one to be registered
	// holds, and the log and the command doctor say so.
	Groups map[string]int

	// River is the service's own configuration of River, for its own workers and queues
	// beside ours. The client works on a copy, to which it adds the queues of the
	// Flows. It adds its worker to River.Workers itself. Nil: only what the library
	// needs. A client that joins an existing River client with [UseRiver] ignores it.
	River *river.Config

	// Schema is the Postgres schema of River's tables and ours. It must exist. Empty:
	// River.Schema if that is set, else the first schema of the search path. With
	// SQLite it must be empty. For [JobQueue], River takes names of at most 46 letters a to z, digits
	// and underscores. No name may have an apostrophe.
	Schema string

	// Logger gets the client's and River's log lines. Nil: [slog.Default].
	Logger *slog.Logger

	// RuntimeAdapter is the Type of the Runtime of the Flows that name none. It is that of a
	// Runtime of this package, such as "job_queue". Empty: "heartbeat".
	RuntimeAdapter string

	// Runtimes holds the decoders of the user's own types of [Runtime], by their Type.
	Runtimes map[string]RuntimeDecoder

	// ID names this client in the runs that it works. It must be unique among running
	// processes. Empty: host name, process id and a random part.
	ID string

	// CodeVersion is stored with the flows that this client registers and the runs that
	// it works. It is a commit, for example. Empty: none.
	CodeVersion string

	// MaxWorkers is how many runs this client works at once without River, and as many
	// in each River queue that River.Queues does not name. 0: 10.
	MaxWorkers int

	// PollInterval is how often a started client looks for due runs that are worked
	// without River. It takes up a new run at once if it is told of it: runs of this process,
	// and, with Postgres, those of others. 0: one second.
	PollInterval time.Duration

	// PollOnly saves the connection beside the pool on which a started client listens for runs
	// that other processes add for [Heartbeat]. It then finds them by its poll. River has a
	// setting of this name for its own connection.
	PollOnly bool

	// Lease is how long a process may work a run without renewing its right to it. A
	// live process renews in time. The run of a killed process waits this long before
	// another process takes it over. 0: 10 s. The least is 1 s.
	Lease time.Duration

	// Slice is how long one River job works a run whose source can resume. At the next
	// checkpoint the run goes on in a new job, so that long runs leave room for other
	// runs and for deploys. 0: one minute. -1: no limit.
	Slice time.Duration

	// MaxRescues is how many workers in a row may die on a run before the run fails. One that
	// is stalled for longer than its Lease counts too. A checkpoint with a cursor starts the count
	// anew. 0: 5.
	MaxRescues int

	// Retention is how long a started client keeps what has ended. One process at a time
	// removes the rest, an hour after it last did, in small batches. See [Client.Cleanup]. The
	// zero value keeps open dead letters for ever, the audit log for 365 days, and everything else
	// for 30. -1 in all of its fields: nothing is removed.
	Retention RetentionOptions

	// OnRunFailed, if set, is called after a run has failed for good and this is
	// stored, in the process that stored it. The error is a *[RunError].
	OnRunFailed func(ctx context.Context, run *Run, err error)

	// OnRunEnded, if set, is called when a run of the Flows has ended: it has succeeded, failed for
	// good, or was cancelled. A crash does not lose the call. That the run's end is to be told
	// stands in the database, from the transaction that ended the run until a call returns nil. So
	// it is called at least once, in one of the started clients that have OnRunEnded and the flow,
	// or in [Client.Tick]. The run's ID tells a second call from the first. Runs of a flow may come
	// in any order, and up to ten at once.
	//
	// The context ends after a minute. After an error, a panic or a minute, the call is tried again:
	// after 3 s, 18 s, 83 s, and so on for about six days. [RetryAfter] sets another wait. It is
	// given up after 20 tries, or after an error that [Permanent] marks. [Client.Why] and the
	// command doctor say what is not told yet and what was given up.
	//
	// Ends of runs are kept to be told from the first registration by a client with OnRunEnded, until
	// a week after the last one was there.
	OnRunEnded func(ctx context.Context, run *Run) error

	// OnJobDiscarded, if set, is called when one of our River jobs is given up. Either
	// its args cannot be read, so that there is no run, or its run has failed for good.
	// In the second case OnRunFailed is called first. The error says why. The hook must
	// not change the job. A crash may lose the call or repeat it: use OnRunEnded for what
	// must not be lost.
	OnJobDiscarded func(ctx context.Context, job *rivertype.JobRow, err error)

	// Observer is told what the client does with runs, for traces and metrics. Nil: nobody is.
	Observer Observer

	// Clock replaces the clocks of the database and of this process, in tests. River
	// keeps its own. Nil: the real clocks.
	Clock func() time.Time
}

// withDefaults returns a copy with the defaults filled in.
func (c *Config) withDefaults() Config {
	d := Config{}
	if c != nil {
		d = *c
	}
	if d.Schema == "" && d.River != nil {
		d.Schema = d.River.Schema
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.ID == "" {
		d.ID = newWorkerID()
	}
	d.RuntimeAdapter = cmp.Or(d.RuntimeAdapter, Heartbeat{}.Type())
	d.Groups = maps.Clone(d.Groups)
	d.Flows = slices.Clone(d.Flows)
	for i, f := range d.Flows {
		d.Flows[i] = f.adapted(d.RuntimeAdapter)
	}
	d.MaxWorkers = cmp.Or(d.MaxWorkers, DefaultMaxWorkers)
	d.PollInterval = cmp.Or(d.PollInterval, DefaultPollInterval)
	d.Lease = cmp.Or(d.Lease, DefaultLease)
	d.Slice = cmp.Or(d.Slice, DefaultSlice)
	d.MaxRescues = cmp.Or(d.MaxRescues, DefaultMaxRescues)
	return d
}

func newWorkerID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	b := make([]byte, 4)
	_, _ = rand.Read(b) // it never fails
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(b))
}

// validate returns everything that is wrong, each as a *[ConfigError].
func (c *Config) validate() error {
	var errs []error
	if c.MaxWorkers < 0 || c.MaxWorkers > river.QueueNumWorkersMax {
		errs = append(errs, &ConfigError{Field: "MaxWorkers", Reason: fmt.Sprintf("%d is out of range: use 1 to %d, or 0 for the default, %d", c.MaxWorkers, river.QueueNumWorkersMax, DefaultMaxWorkers)})
	}
	if c.Lease < time.Second {
		errs = append(errs, &ConfigError{Field: "Lease", Reason: fmt.Sprintf("%s is less than a second: use a second or more, or 0 for %s", c.Lease, DefaultLease)})
	}
	if c.Slice < 0 && c.Slice != -1 {
		errs = append(errs, &ConfigError{Field: "Slice", Reason: fmt.Sprintf("%s is negative: use a positive duration, 0 for %s, or -1 for none", c.Slice, DefaultSlice)})
	}
	if err := c.Retention.validate(); err != nil {
		errs = append(errs, fmt.Errorf("of Retention: %w", err))
	}
	if c.Retention.DryRun {
		errs = append(errs, &ConfigError{Field: "Retention.DryRun", Reason: "a started client does not count: call Client.Cleanup"})
	}
	if c.MaxRescues < 0 {
		errs = append(errs, &ConfigError{Field: "MaxRescues", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", c.MaxRescues, DefaultMaxRescues)})
	}
	if builtinOfType(c.RuntimeAdapter) == nil {
		errs = append(errs, &ConfigError{Field: "RuntimeAdapter", Reason: fmt.Sprintf("%q is not supported: use %s, or leave it empty for %q", stored.Clip(c.RuntimeAdapter), builtinTypes(), Heartbeat{}.Type())})
	}
	if c.PollInterval < 0 {
		errs = append(errs, &ConfigError{Field: "PollInterval", Reason: fmt.Sprintf("%s is negative: use a positive duration, or 0 for %s", c.PollInterval, DefaultPollInterval)})
	}
	if c.River != nil && c.River.Schema != "" && c.River.Schema != c.Schema {
		errs = append(errs, &ConfigError{Field: "Schema", Reason: fmt.Sprintf("%q is not River.Schema, %q: leave one of them empty", c.Schema, c.River.Schema)})
	}
	if strings.Contains(c.Schema, "'") {
		errs = append(errs, &ConfigError{Field: "Schema", Reason: fmt.Sprintf("%q has an apostrophe, with which River cannot make its tables: use a name of letters, digits and underscores", c.Schema)})
	}
	for name, limit := range c.Groups {
		field := fmt.Sprintf("Groups[%q]", stored.Clip(name))
		if err := validateName(name); err != nil {
			errs = append(errs, &ConfigError{Field: field, Reason: "of the name: " + err.Error()})
		}
		if limit < 1 || limit > math.MaxInt32 {
			errs = append(errs, &ConfigError{Field: field, Reason: fmt.Sprintf("%d is out of range: use 1 or more", limit)})
		}
	}
	seen, read := make(map[string]bool), make(map[string]error)
	for i, f := range c.Flows {
		if f == nil {
			errs = append(errs, &ConfigError{Field: fmt.Sprintf("Flows[%d]", i), Reason: "it is nil"})
			continue
		}
		if seen[f.Name] {
			errs = append(errs, &ConfigError{Field: fmt.Sprintf("Flows[%q].Name", f.Name), Reason: "two flows have this name: a name is a flow's identity, and must be unique"})
		}
		seen[f.Name] = true
		errs = append(errs, f.validate(), c.validateStored(f, read))
	}
	return errors.Join(errs...)
}

// validateStored checks that the flow's Runtime can be read back. read has what was read for other flows: many flows
// have the same Runtime.
func (c *Config) validateStored(f *Flow, read map[string]error) error {
	if !validRuntime(f.Runtime) {
		return nil // Flow.validate reports it
	}
	data, err := marshalRuntime(f.Runtime)
	if err == nil {
		var known bool
		if err, known = read[string(data)]; !known {
			_, err = parseRuntime(data, c.Runtimes)
			read[string(data)] = err
		}
	}
	if err == nil {
		return nil
	}
	reason := err.Error()
	if errors.Is(err, ErrUnknownType) {
		reason = fmt.Sprintf("Config.Runtimes has no decoder for its type %q", f.Runtime.Type())
	}
	return &ConfigError{Field: fmt.Sprintf("Flows[%q].Runtime", f.Name), Reason: reason}
}

// DefaultRetention is how long [Client.Cleanup] keeps what has ended.
const DefaultRetention = 30 * 24 * time.Hour

// DefaultAuditRetention is how long entries of the audit log are kept, unless told otherwise.
const DefaultAuditRetention = 365 * 24 * time.Hour

// defaultRetentionBatch takes about 50 ms on Postgres.
const defaultRetentionBatch = 2000

// RetentionOptions are the settings of [Client.Cleanup] and of [Config].Retention: how long what
// has ended is kept. The zero value keeps open dead letters for ever, the audit log for 365 days,
// and everything else for 30.
type RetentionOptions struct {
	// Success, Failed and Cancelled are how long a run is kept after it ended in that state.
	// The last success of each flow is always kept. 0: 30 days. -1: for ever.
	Success   time.Duration
	Failed    time.Duration
	Cancelled time.Duration
	// SkippedTicks is how long an entry of the ledger is kept after its last tick.
	// 0: 30 days. -1: for ever.
	SkippedTicks time.Duration
	// DeadLetters is how long a dead letter is kept after it was replayed, resolved or discarded,
	// and its run with it. 0: 30 days. -1: for ever.
	DeadLetters time.Duration
	// OpenDeadLetters is how long a dead letter that is still open is kept after its record was last
	// kept, and its run with it. Its record may be nowhere else. 0 or -1: for ever.
	OpenDeadLetters time.Duration
	// Audit is how long entries of the audit log are kept. 0: 365 days. -1: for ever.
	Audit time.Duration
	// BatchSize is how many rows are removed in one transaction. 0: 2000.
	BatchSize int
	// DryRun counts, and removes nothing.
	DryRun bool
}

// CleanupReport counts what [Client.Cleanup] removed, or would remove.
type CleanupReport struct {
	Success      int64
	Failed       int64
	Cancelled    int64
	SkippedTicks int64
	// DeadLetters were replayed, resolved or discarded. OpenDeadLetters were not.
	DeadLetters     int64
	OpenDeadLetters int64
	Audit           int64
	DryRun          bool
}

// Total is the sum of all counts.
func (r *CleanupReport) Total() int64 {
	return r.Success + r.Failed + r.Cancelled + r.SkippedTicks + r.DeadLetters + r.OpenDeadLetters + r.Audit
}

// keepsAll reports whether nothing is ever removed.
func (o *RetentionOptions) keepsAll() bool {
	return o.Success == -1 && o.Failed == -1 && o.Cancelled == -1 && o.SkippedTicks == -1 && o.DeadLetters == -1 && o.OpenDeadLetters <= 0 && o.Audit == -1
}

// validate returns all that is wrong with the options.
func (o *RetentionOptions) validate() error {
	var errs []error
	for _, f := range []struct {
		name        string
		keep, usual time.Duration
	}{
		{"Success", o.Success, DefaultRetention},
		{"Failed", o.Failed, DefaultRetention},
		{"Cancelled", o.Cancelled, DefaultRetention},
		{"SkippedTicks", o.SkippedTicks, DefaultRetention},
		{"DeadLetters", o.DeadLetters, DefaultRetention},
		{"Audit", o.Audit, DefaultAuditRetention},
	} {
		if f.keep < 0 && f.keep != -1 {
			errs = append(errs, &ConfigError{Field: f.name, Reason: fmt.Sprintf("%s is negative: use a positive duration, 0 for %s, or -1 for ever", f.keep, f.usual)})
		}
	}
	if o.OpenDeadLetters < 0 && o.OpenDeadLetters != -1 {
		errs = append(errs, &ConfigError{Field: "OpenDeadLetters", Reason: fmt.Sprintf("%s is negative: use a positive duration, or 0 or -1 for ever", o.OpenDeadLetters)})
	}
	if o.BatchSize < 0 {
		errs = append(errs, &ConfigError{Field: "BatchSize", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", o.BatchSize, defaultRetentionBatch)})
	}
	return errors.Join(errs...)
}
