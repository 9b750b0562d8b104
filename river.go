package dataflow

// River's client, seen through the interface [River]: how the service and this client share
// one. It knows the words only. Room jobs uses it.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// WrapRiver makes a River client of any database into the one that a [Store] returns.
func WrapRiver[TTx any](rc *river.Client[TTx]) River { return riverClient[TTx]{rc} }

type riverClient[TTx any] struct{ *river.Client[TTx] }

func (r riverClient[TTx]) InsertTx(ctx context.Context, tx Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error) {
	ids, err := r.InsertManyTx(ctx, tx, []river.InsertManyParams{{Args: args, InsertOpts: opts}}) // River's InsertTx takes it for granted that there is a row
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

func (r riverClient[TTx]) InsertManyTx(ctx context.Context, tx Tx, jobs []river.InsertManyParams) ([]int64, error) {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return nil, ErrTxMismatch
	}
	var inserted []*rivertype.JobInsertResult
	err := guard(func() (err error) { // it calls hooks and middleware of the service
		inserted, err = r.Client.InsertManyTx(ctx, own, jobs)
		return err
	})
	if errors.Is(err, &rivertype.UnknownJobKindError{}) {
		return nil, fmt.Errorf("the River client has workers, but not ours: call Client.AddWorker with its Workers before river.NewClient: %w", err)
	}
	if err != nil {
		return nil, err
	}
	ids := make([]int64, 0, len(jobs))
	for _, res := range inserted {
		if res != nil && res.Job != nil {
			ids = append(ids, res.Job.ID)
		}
	}
	if len(ids) != len(jobs) {
		return nil, fmt.Errorf("it stored %d of %d: look for a trigger or a rule on river_job, or a middleware of River's client, that drops jobs of kind %q", len(ids), len(jobs), DataFlowArgs{}.Kind())
	}
	return ids, nil
}

func (r riverClient[TTx]) JobCancelTx(ctx context.Context, tx Tx, jobID int64) error {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return ErrTxMismatch
	}
	_, err := r.Client.JobCancelTx(ctx, own, jobID)
	if errors.Is(err, river.ErrNotFound) {
		return nil
	}
	return err
}

func (r riverClient[TTx]) JobCancelled(ctx context.Context, tx Tx, jobID int64) (bool, error) {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return false, ErrTxMismatch
	}
	job, err := r.JobGetTx(ctx, own, jobID)
	if errors.Is(err, river.ErrNotFound) {
		return false, nil
	}
	return err == nil && job.State == rivertype.JobStateCancelled && !unreadable(job), err
}

// badArgs begins the error of a job whose args cannot be read.
const badArgs = "dataflow: job args "

// unreadable reports whether our worker has cancelled a job, because its args could not be read, and nobody else did.
func unreadable(job *rivertype.JobRow) bool {
	last := len(job.Errors) - 1
	return last >= 0 && strings.Contains(job.Errors[last].Error, badArgs)
}

func (r riverClient[TTx]) QueuePaused(ctx context.Context, queue string) (bool, error) {
	q, err := r.QueueGet(ctx, queue)
	if errors.Is(err, river.ErrNotFound) {
		return false, nil
	}
	return err == nil && q.PausedAt != nil, err
}

// mostQueues is how many queues River lists at once.
const mostQueues = 10_000

func (r riverClient[TTx]) ListQueues(ctx context.Context) ([]*RiverQueue, error) {
	list, err := r.QueueList(ctx, river.NewQueueListParams().First(mostQueues))
	if err != nil {
		return nil, err
	}
	queues := make([]*RiverQueue, len(list.Queues))
	for i, q := range list.Queues {
		queues[i] = &RiverQueue{Name: q.Name, PausedAt: q.PausedAt, SeenAt: q.UpdatedAt}
	}
	slices.SortFunc(queues, func(a, b *RiverQueue) int { return strings.Compare(a.Name, b.Name) })
	return queues, nil
}

func (r riverClient[TTx]) QueueAdd(name string, config river.QueueConfig) error {
	return r.Queues().Add(name, config)
}

func (r riverClient[TTx]) Unwrap() any { return r.Client }

// DataFlowArgs are the args of a River job that works a run. They hold ids only.
type DataFlowArgs struct {
	// FlowID is the flow's id. It is read from a number, a string of digits, a global id,
	// "gid://app/Flow/7", or the flow's name. Digits are an id, never a name.
	FlowID FlowRef `json:"flow_id"`
	// RunID is the run's id. 0: the job starts a run of the flow and works it.
	RunID int64 `json:"run_id,omitempty"`

	id      int64     // the id that the job is to have, 0: any
	due     time.Time // since when the run is due by the database's clock, zero: not known
	name    string    // the flow's, if FlowID was one; FlowID is 0 then
	err     error     // why the args could not be read
	retryAt time.Time // when a failed run is tried again
}

// Kind returns "data_flow".
func (DataFlowArgs) Kind() string { return "data_flow" }

// Hooks returns the hook by which River gives a job the id that was reserved with its run, and its time. It takes from
// the job of a run what a hook or middleware of the service has set to make it unique.
func (DataFlowArgs) Hooks() []rivertype.Hook { return []rivertype.Hook{&ofRun{}} }

// ofRun is a hook of River's. River asks for it once, so what a job gets is in its args.
type ofRun struct{ river.HookDefaults }

// InsertBegin implements rivertype.HookInsertBegin. River takes jobs up by the database's clock, but inserts them with
// the time of this process (riverpgxv5 v0.51.1, JobInsertFastMany), whose clock may be ahead.
func (*ofRun) InsertBegin(_ context.Context, params *rivertype.JobInsertParams) error {
	args, ok := params.Args.(DataFlowArgs)
	if ok && args.id != 0 {
		params.ID = &args.id
	}
	if ok && !args.due.IsZero() && params.ScheduledAt == nil { // else a hook or a test has replaced the time
		params.ScheduledAt = &args.due
	}
	if ok && args.RunID != 0 { // the run is unique already, and gets its next job while the one before still works it
		params.UniqueKey, params.UniqueStates = nil, 0
	}
	return nil
}

// UnmarshalJSON reads args. It returns no error, but keeps it for the worker, which
// discards the job. River would try the job again and again.
func (a *DataFlowArgs) UnmarshalJSON(data []byte) error {
	if flowID, runID, ok := plainArgs(data); ok {
		*a = DataFlowArgs{FlowID: FlowRef(flowID), RunID: runID}
		return nil
	}
	var given struct {
		FlowID json.RawMessage `json:"flow_id"`
		RunID  int64           `json:"run_id"`
	}
	err := json.Unmarshal(data, &given)
	*a = DataFlowArgs{RunID: given.RunID, name: nameIn(given.FlowID)}
	switch {
	case err != nil || a.name != "":
	case len(given.FlowID) == 0 || string(given.FlowID) == "null":
		err = errors.New("flow_id is missing")
	default:
		err = a.FlowID.UnmarshalJSON(given.FlowID)
	}
	if err != nil {
		*a = DataFlowArgs{err: err}
		return nil //nolint:nilerr // the worker reports it
	}
	if a.RunID < 0 {
		a.err = fmt.Errorf("run_id %d is negative", a.RunID)
	}
	return nil
}

// plainArgs reads args that this library has written, as Postgres returns them. It reports false for all others.
func plainArgs(data []byte) (flowID, runID int64, ok bool) {
	rest, begins := bytes.CutPrefix(data, []byte(`{"run_id": `))
	run, flow, both := bytes.Cut(rest, []byte(`, "flow_id": `))
	flow, ends := bytes.CutSuffix(flow, []byte("}"))
	if !begins || !both || !ends {
		return 0, 0, false
	}
	runID, runErr := strconv.ParseInt(string(run), 10, 64)
	flowID, flowErr := strconv.ParseInt(string(flow), 10, 64)
	return flowID, runID, runErr == nil && flowErr == nil && runID > 0 && flowID > 0
}

// nameIn returns the name of a flow in a flow_id, or "" if it is an id.
func nameIn(flowID json.RawMessage) string {
	var name string
	if !bytes.HasPrefix(flowID, []byte(`"`)) { // a number, as a rule
		return ""
	}
	if json.Unmarshal(flowID, &name) != nil || strings.HasPrefix(name, gidScheme) {
		return ""
	}
	if _, err := strconv.ParseInt(name, 10, 64); err == nil {
		return ""
	}
	return name
}

// FlowRef is a flow's id.
type FlowRef int64

// UnmarshalJSON reads a number, a string of digits, or a global id.
func (r *FlowRef) UnmarshalJSON(data []byte) error {
	text := string(bytes.Trim(data, `"`))
	if strings.HasPrefix(text, gidScheme) { // of any application, as the Ruby gem wrote it
		g, err := parseGlobalID(text)
		if err == nil {
			err = g.ownFlow()
		}
		if err != nil {
			return fmt.Errorf("flow_id: %w", err)
		}
		*r = FlowRef(g.ID)
		return nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return fmt.Errorf("flow_id %s is not the id of a flow: use a positive number, or gid://app/Flow/ID", data)
	}
	*r = FlowRef(id)
	return nil
}
