package dataflow

// The River jobs of runs: the River client, the queues that it works, and adding jobs. It
// knows the flows.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
)

// jobs holds the River client, which adds jobs, and the queues that it works here.
type jobs struct {
	base
	flows     *registry
	addWorker func(*river.Workers) error // adds our worker

	mu          sync.Mutex // guards what follows
	river       River      // nil: not made yet
	joined      bool       // river is the service's own; the service starts and stops it
	schema      string     // of the service's own
	unsure      bool       // the tables of the service's own may be others than those of the runs
	started     bool
	queues      map[string]river.QueueConfig // the queues that river works; nil if it is joined
	workerAdded bool                         // our worker is in Config.River.Workers
}

// client returns the River client. It makes it at the first call, so that UseRiver can come
// before.
func (j *jobs) client() (River, error) {
	j.mu.Lock()
	rc := j.river
	j.mu.Unlock()
	if rc != nil {
		return rc, nil
	}
	wanted := j.wantedQueues()
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.clientLocked(wanted)
}

// checkAtStart is checkTables for a client that starts.
func (j *jobs) checkAtStart(ctx context.Context) error {
	j.mu.Lock()
	unsure := j.unsure
	j.mu.Unlock()
	if !unsure {
		return nil
	}
	return j.store.InTx(ctx, j.checkTables)
}

// inserter is client for a caller that adds jobs.
func (j *jobs) inserter(ctx context.Context, tx Tx) (River, error) {
	rc, err := j.client()
	if err != nil {
		return nil, err
	}
	return rc, j.checkTables(ctx, tx)
}

// clientLocked is client for a caller that holds j.mu.
func (j *jobs) clientLocked(queues map[string]river.QueueConfig) (River, error) {
	if j.river != nil {
		return j.river, nil
	}
	conf := river.Config{}
	if j.config.River != nil {
		conf = *j.config.River
	}
	conf.Schema = j.config.Schema
	if conf.Logger == nil {
		conf.Logger = j.log
	}
	if conf.Workers == nil {
		conf.Workers = river.NewWorkers()
	}
	if !j.workerAdded || j.config.River == nil || j.config.River.Workers == nil {
		if err := j.addWorker(conf.Workers); err != nil {
			return nil, fmt.Errorf("add our worker to Config.River.Workers: %w", err)
		}
		j.workerAdded = true
	}
	if len(queues) > 0 {
		conf.Queues = maps.Clone(queues)
	}
	rc, err := j.store.River(&conf)
	if err != nil {
		return nil, fmt.Errorf("make River client for Config.Schema %q: %w", conf.Schema, err)
	}
	j.river, j.queues = rc, maps.Clone(conf.Queues) // ours, since River keeps the other
	return rc, nil
}

// join makes the library use a River client of the service, and asks for its schema if it takes it.
func (j *jobs) join(rc River, schema func() string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.river != nil {
		return errors.New("use River client: this client already has one: call UseRiver before anything else")
	}
	j.river, j.joined, j.schema = rc, true, schema()
	j.unsure = (j.schema == "") != (j.config.Schema == "")
	return nil
}

// checkTables refuses a River client of the service whose jobs are not in the tables in which this
// client looks for them. It asks the database until it knows, and only if one of the two has no Schema.
func (j *jobs) checkTables(ctx context.Context, tx Tx) error {
	j.mu.Lock()
	unsure, schema := j.unsure, j.schema
	j.mu.Unlock()
	store, ok := j.store.(SchemaStore)
	if !unsure || !ok {
		return nil
	}
	same, err := store.SameJobs(ctx, tx, schema)
	if err != nil {
		return fmt.Errorf("look for River's tables: %w", err)
	}
	if !same {
		return &ConfigError{Field: "River client", Reason: fmt.Sprintf("its jobs are in other tables than this client's: its schema is %q, and this client's is %q, where an empty one is that of the search path: give both the same Schema, so that a run and its job are in one place", schema, j.config.Schema)}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsure = false
	return nil
}

// wantedQueues returns the queues of Config.River and of the declared flows. It also returns
// those of flows that were migrated to a Runtime that their code does not declare.
func (j *jobs) wantedQueues() map[string]river.QueueConfig {
	queues := make(map[string]river.QueueConfig)
	if j.config.River != nil {
		maps.Copy(queues, j.config.River.Queues)
	}
	for _, f := range j.flows.all() {
		queue, ok := queueOf(f.Runtime)
		if !ok {
			continue
		}
		if _, set := queues[queue]; !set {
			queues[queue] = river.QueueConfig{MaxWorkers: j.config.MaxWorkers}
		}
	}
	return queues
}

// workedQueues returns the names of the queues that this process works. It returns nil for a
// River client of the service, because only the service knows its queues.
func (j *jobs) workedQueues() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.joined {
		return nil
	}
	names := make([]string, 0, len(j.queues))
	for name := range j.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// start starts the River client. It does nothing if the service starts that client, or if no
// flow needs River. A second call starts work on the queues that were added since.
func (j *jobs) start(ctx context.Context) error {
	rc, queues, running, err := j.startable()
	if err != nil || rc == nil {
		return err
	}
	// j.mu is not held. River's client uses the database, where SQLite serves one connection
	// at a time, and its jobs call this client.
	if err := j.addQueues(rc, queues); err != nil || running {
		return err
	}
	j.setStarted(true) // before it is, so that a Stop meanwhile stops it
	if err := rc.Start(context.WithoutCancel(ctx)); err != nil {
		j.setStarted(false)
		return fmt.Errorf("start River: %w", err)
	}
	return nil
}

func (j *jobs) setStarted(started bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.started = started
}

// startable returns the River client to start, the queues that it lacks, and whether it runs
// already. It returns nil if there is no client to start. A client that was made before the
// flows were registered lacks the queues of migrated flows.
func (j *jobs) startable() (rc River, lacking map[string]river.QueueConfig, running bool, err error) {
	queues := j.wantedQueues()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.river != nil && !j.joined && len(j.queues) == 0 && len(queues) > 0 {
		j.river = nil // made without queues, it can only insert jobs
	}
	rc, err = j.clientLocked(queues)
	if err != nil || j.joined || len(queues) == 0 {
		return nil, nil, false, err
	}
	maps.DeleteFunc(queues, func(name string, _ river.QueueConfig) bool {
		_, has := j.queues[name]
		return has
	})
	return rc, queues, j.started, nil
}

// addQueues makes River's client work more queues. It does not hold j.mu during QueueAdd,
// because a started client uses the database.
func (j *jobs) addQueues(rc River, queues map[string]river.QueueConfig) error {
	for name, config := range queues {
		if err := rc.QueueAdd(name, config); err != nil {
			return fmt.Errorf("add queue %q: %w", name, err)
		}
		j.mu.Lock()
		j.queues[name] = config
		j.mu.Unlock()
	}
	return nil
}

// own returns the River client that start started, or nil.
func (j *jobs) own() River {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.started {
		return nil
	}
	return j.river
}

// insert adds the River job of a run and stores it with the run, in the run's transaction.
func (j *jobs) insert(ctx context.Context, tx Tx, run *Run, opts river.InsertOpts) error {
	id, err := j.add(ctx, tx, run, opts)
	if err != nil {
		return err
	}
	q, err := j.store.With(tx)
	if err != nil {
		return err
	}
	if err := q.RunSetJob(ctx, run.ID, id, opts.Queue); err != nil {
		return err
	}
	run.RiverJobID, run.Queue = id, opts.Queue
	return nil
}

// insertReserved adds the River job of a run that was just added, with the id that was reserved
// for it.
func (j *jobs) insertReserved(ctx context.Context, tx Tx, run *Run, opts river.InsertOpts) error {
	rc, err := j.inserter(ctx, tx)
	if err != nil {
		return err
	}
	args, full, err := j.paramsOf(run, opts)
	if err != nil {
		return err
	}
	args.id = run.RiverJobID
	id, err := rc.InsertTx(ctx, tx, args, full)
	if err != nil {
		return fmt.Errorf("insert River job: %w", err)
	}
	return j.reserved(ctx, tx, run, id)
}

// closing returns the transaction for a job that is its last statement. A plugin, a hook or a middleware of the
// service may do more after the insert, or fail, and so may the service's own River client.
func (j *jobs) closing(tx Tx) Tx {
	last, ok := tx.(ClosingTx)
	if !ok || j.extended() {
		return tx
	}
	return last.Closing()
}

// extended reports whether River may run code of the service when it inserts a job.
func (j *jobs) extended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.config.River
	return j.joined || c != nil && len(c.Hooks)+len(c.Middleware)+len(c.Plugins)+len(c.JobInsertMiddleware) > 0 //nolint:staticcheck // River still calls the deprecated one
}

// insertMany is insertReserved for many runs.
func (j *jobs) insertMany(ctx context.Context, tx Tx, runs []*Run, opts []river.InsertOpts) error {
	rc, err := j.inserter(ctx, tx)
	if err != nil {
		return err
	}
	params := make([]river.InsertManyParams, len(runs))
	for i, run := range runs {
		args, full, err := j.paramsOf(run, opts[i])
		if err != nil {
			return err
		}
		args.id = run.RiverJobID
		params[i] = river.InsertManyParams{Args: args, InsertOpts: full}
	}
	ids, err := rc.InsertManyTx(ctx, tx, params)
	if err != nil {
		return fmt.Errorf("insert River jobs: %w", err)
	}
	for i, run := range runs {
		if err := j.reserved(ctx, tx, run, ids[i]); err != nil {
			return err
		}
	}
	return nil
}

// reserved sees to it that a run has its job, if that has another id than the reserved one: the
// database reserves none, or a hook of the service's River client gave it another.
func (j *jobs) reserved(ctx context.Context, tx Tx, run *Run, id int64) error {
	if run.RiverJobID == id {
		return nil
	}
	q, err := j.store.With(tx)
	if err != nil {
		return err
	}
	run.RiverJobID = id
	return q.RunSetJob(ctx, run.ID, id, run.Queue)
}

// add adds a River job for a run, and does not change the run.
func (j *jobs) add(ctx context.Context, tx Tx, run *Run, opts river.InsertOpts) (int64, error) {
	rc, err := j.inserter(ctx, tx)
	if err != nil {
		return 0, err
	}
	args, full, err := j.paramsOf(run, opts)
	if err != nil {
		return 0, err
	}
	id, err := rc.InsertTx(ctx, tx, args, full)
	if err != nil {
		return 0, fmt.Errorf("insert River job: %w", err)
	}
	return id, nil
}

// paramsOf returns what River gets of a job for a run.
func (j *jobs) paramsOf(run *Run, opts river.InsertOpts) (DataFlowArgs, *river.InsertOpts, error) {
	// The args hold only ids. The name is for people who look at River's jobs.
	metadata, err := json.Marshal(struct {
		Flow string `json:"flow"`
	}{run.FlowName})
	opts.MaxAttempts, opts.Metadata = run.MaxAttempts, metadata
	if !opts.ScheduledAt.After(j.now()) {
		// With a time, even a past one, the job would wait for River's scheduler. That looks
		// every 5 s, and 15 s after its leader has died.
		opts.ScheduledAt = time.Time{}
	}
	args := DataFlowArgs{FlowID: FlowRef(run.FlowID), RunID: run.ID}
	if j.config.Clock == nil { // River keeps the real clock
		args.due = run.RunAfter
	}
	return args, &opts, err
}

// wakeNext adds a River job for the run that waits longest for the place of a run that goes
// back to waiting.
func (j *jobs) wakeNext(ctx context.Context, f *Flow, released *Run) {
	next, err := j.store.RunNext(ctx, released, f.opts.MaxBackfills)
	if err != nil {
		j.notWoken(ctx, f, err)
		return
	}
	j.wakeRun(ctx, f, next)
}

// wakeRun adds a River job for a run that can be worked now. Its own job may be snoozed for a
// while. If the added job is not needed, it does nothing. Nil: there is no such run.
func (j *jobs) wakeRun(ctx context.Context, f *Flow, next *NextRun) {
	rt, ok := queuedOf(f.Runtime)
	if !ok || next == nil {
		return
	}
	err := j.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		_, err := j.add(ctx, tx, &Run{ID: next.ID, FlowID: f.ID, FlowName: f.Name, MaxAttempts: next.MaxAttempts}, rt.insertOpts())
		return err
	})
	if err != nil {
		j.notWoken(ctx, f, err)
	}
}

// letNextOfGroup adds a River job for the run that waits longest for a place in a flow's group, or
// wakes the loops for it. Without that, its job and the loops find the place soon.
func (j *jobs) letNextOfGroup(ctx context.Context, f *Flow, loops func(ctx context.Context, flowID int64)) {
	next, err := j.store.GroupNext(ctx, f.ID)
	switch {
	case err != nil:
		j.notWoken(ctx, f, err)
	case next == nil:
	case next.Queue == "":
		loops(ctx, next.FlowID)
	default:
		err := j.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
			_, err := j.add(ctx, tx, next, river.InsertOpts{Queue: next.Queue})
			return err
		})
		if err != nil {
			j.notWoken(ctx, f, err)
		}
	}
}

func (j *jobs) notWoken(ctx context.Context, f *Flow, err error) {
	j.log.WarnContext(ctx, "dataflow: could not add a job for the next run; the job that it has tries again later", slog.String(logFlow, f.Name), slog.String(logError, err.Error()))
}

// wake adds a River job for each waiting run of a flow, because jobs that found the flow
// disabled have ended. A job that is not needed finds its run taken, and does nothing. The run
// keeps its RiverJobID, because an old job without a run id finds its run by it.
func (j *jobs) wake(ctx context.Context, f *Flow) error {
	rt, ok := queuedOf(f.Runtime)
	if !ok {
		return nil
	}
	var errs []error
	for run, err := range j.flows.runsOf(ctx, f.Name, RunPending) {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if run.Queue == "" {
			continue
		}
		errs = append(errs, j.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
			opts := rt.insertOpts()
			opts.ScheduledAt = run.RunAfter
			_, err := j.add(ctx, tx, run, opts)
			return err
		}))
	}
	return errors.Join(errs...)
}

// requeue moves a run that was put back to the present Runtime of its flow. It adds a job in
// the Runtime's queue, or takes the run out of River.
func (j *jobs) requeue(ctx context.Context, tx Tx, q Queries, run *Run) error {
	rec, err := q.FlowByID(ctx, run.FlowID)
	if err != nil {
		return err
	}
	runtime := j.flows.bind(rec).Runtime
	rt, takesJobs := queuedOf(runtime)
	switch {
	case takesJobs:
		return j.insert(ctx, tx, run, rt.insertOpts())
	case isBuiltin(runtime):
		run.Queue, run.RiverJobID = "", 0
		return q.RunSetJob(ctx, run.ID, 0, "")
	default: // a type of the user, or one that this process cannot read
		return j.insert(ctx, tx, run, river.InsertOpts{Queue: run.Queue})
	}
}

// cancelled reports whether a River job was cancelled.
func (j *jobs) cancelled(ctx context.Context, tx Tx, jobID int64) (bool, error) {
	rc, err := j.client()
	if err != nil || jobID == 0 {
		return false, err
	}
	return rc.JobCancelled(ctx, tx, jobID)
}
