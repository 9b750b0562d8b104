package enginetest_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

var update = flag.Bool("update", false, "write the golden files of this package anew")

// requireGolden compares with a file below testdata, or writes it with -update.
func requireGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("../../testdata", file)
	got = append(got, '\n')
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "make it with: go test -run %s ./internal/enginetest -update", t.Name())
	require.Equal(t, string(want), string(got))
}

// Stored Runtimes must stay readable, so their JSON is a contract.
func TestRuntime_JSON(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]dataflow.Runtime{
		"heartbeat_zero":     dataflow.Heartbeat{},
		"heartbeat_all":      dataflow.Heartbeat{Interval: 5 * time.Minute, BatchSize: 50, Disabled: true},
		"heartbeat_disabled": dataflow.Heartbeat{Disabled: true},
		"heartbeat_fraction": dataflow.Heartbeat{Interval: 1500 * time.Millisecond},
		"job_queue_zero":     dataflow.JobQueue{},
		"job_queue_all":      dataflow.JobQueue{Queue: "etl", Priority: 4, Interval: 5 * time.Minute, BatchSize: 50, Disabled: true},
		"job_queue_disabled": dataflow.JobQueue{Disabled: true},
		"job_queue_fraction": dataflow.JobQueue{Interval: 1250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(r)
			require.NoError(t, err)
			requireGolden(t, "runtime/"+name+".json", data)

			once, err := dataflow.ParseRuntime(data, nil)
			require.NoError(t, err)
			requireSameRuntime(t, r, once)
			again, err := json.Marshal(once)
			require.NoError(t, err)
			require.Equal(t, string(data), string(again))
			twice, err := dataflow.ParseRuntime(again, nil)
			require.NoError(t, err)
			require.Equal(t, once, twice)
		})
	}
}

func requireSameRuntime(t *testing.T, want, got dataflow.Runtime) {
	t.Helper()
	require.IsType(t, want, got)
	require.Equal(t, want.Settings(), got.Settings())
	if w, ok := want.(dataflow.JobQueue); ok {
		g, _ := got.(dataflow.JobQueue)
		require.Equal(t, w.QueueName(), g.QueueName())
		require.Equal(t, w.Priority, g.Priority)
	}
}

func TestRuntime_Intervals(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{
		time.Second, 1333 * time.Millisecond, 7*24*time.Hour + time.Millisecond, 200*365*24*time.Hour + 3*time.Millisecond,
	} {
		data, err := json.Marshal(dataflow.Heartbeat{Interval: d})
		require.NoError(t, err)
		r, err := dataflow.ParseRuntime(data, nil)
		require.NoError(t, err, "%s", data)
		require.Equal(t, d, r.Settings().Interval, "%s", data)
	}
	for _, d := range []time.Duration{-time.Second, -1500 * time.Millisecond, math.MinInt64} {
		data, err := json.Marshal(dataflow.Heartbeat{Interval: d})
		require.NoError(t, err)
		_, err = dataflow.ParseRuntime(data, nil)
		require.ErrorContains(t, err, "Interval: "+d.String()+" is negative")
	}
}

func TestParseRuntime(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]dataflow.Runtime{
		`{"type":"heartbeat"}`: dataflow.Heartbeat{},
		`{"type":"heartbeat","enabled":null,"interval":null,"batch_size":null,"more":1}`:                                                    dataflow.Heartbeat{},
		`{"type":"heartbeat","batch_size":1000,"enabled":true,"interval":null}`:                                                             dataflow.Heartbeat{BatchSize: 1000},
		`{"type":"heartbeat","batch_size":0}`:                                                                                               dataflow.Heartbeat{},
		`{"type":"heartbeat","enabled":true,"interval":1.25,"batch_size":7}`:                                                                dataflow.Heartbeat{Interval: 1250 * time.Millisecond, BatchSize: 7},
		`{"type":"job_queue","queue":null,"priority":null}`:                                                                                 dataflow.JobQueue{},
		`{"type":"job_queue","queue":"etl","priority":2,"interval":3e2}`:                                                                    dataflow.JobQueue{Queue: "etl", Priority: 2, Interval: 5 * time.Minute},
		`{"class_name":"ActiveDataFlow::Runtime::Heartbeat","batch_size":50,"enabled":false,"interval":60}`:                                 dataflow.Heartbeat{Interval: time.Minute, BatchSize: 50, Disabled: true},
		`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"etl","priority":3,"batch_size":50,"enabled":true,"interval":1800}`:     dataflow.JobQueue{Queue: "etl", Priority: 3, Interval: 30 * time.Minute, BatchSize: 50},
		`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"My-Queue.high:1 é","priority":100,"enabled":true,"interval":"60"}`:     dataflow.JobQueue{Queue: "my_queue_high_1", Priority: 4, Interval: time.Minute},
		`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"","priority":-10,"enabled":true}`:                                      dataflow.JobQueue{Priority: 1},
		`{"class_name":"ActiveDataFlow::Runtime::Base","batch_size":100,"enabled":true,"interval":3600}`:                                    dataflow.Heartbeat{Interval: time.Hour, BatchSize: 100},
		`{"class_name":"ActiveDataFlow::Runtime::Heartbeat"}`:                                                                               dataflow.Heartbeat{Disabled: true, Interval: time.Hour},
		`{"class_name":"ActiveDataFlow::Runtime::Base","enabled":true,"interval":null}`:                                                     dataflow.Heartbeat{Interval: time.Hour},
		`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":null,"priority":null,"batch_size":null,"enabled":null,"interval":null}`: dataflow.JobQueue{Disabled: true},
	} {
		got, err := dataflow.ParseRuntime([]byte(data), nil)
		require.NoError(t, err, data)
		require.Equal(t, want, got, data)
		again, err := json.Marshal(got)
		require.NoError(t, err)
		require.NotContains(t, string(again), "class_name")
	}
}

// What the gem stores beside the settings is kept, and goes back to Ruby with them.
func TestParseRuntime_RubyOptions(t *testing.T) {
	t.Parallel()
	const given = `{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"etl","priority":2,"batch_size":50,"enabled":true,"interval":1800,"concurrency_limit":3,"concurrency_group":"api","use_continuations":true}`
	r, err := dataflow.ParseRuntime([]byte(given), nil)
	require.NoError(t, err)
	data, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(data), `"options":{"concurrency_group":"api","concurrency_limit":3,"use_continuations":true}`)
	again, err := dataflow.ParseRuntime(data, nil)
	require.NoError(t, err)
	require.Equal(t, r, again)
	back, err := dataflow.RubyRuntime(again)
	require.NoError(t, err)
	require.JSONEq(t, given, string(back))

	back, err = dataflow.RubyRuntime(dataflow.Heartbeat{Interval: time.Minute})
	require.NoError(t, err)
	require.JSONEq(t, `{"class_name":"ActiveDataFlow::Runtime::Base","enabled":true,"interval":60}`, string(back), "no null: Ruby's defaults apply")
	back, err = dataflow.RubyRuntime(dataflow.JobQueue{})
	require.NoError(t, err)
	require.JSONEq(t, `{"class_name":"ActiveDataFlow::Runtime::ActiveJob","enabled":true,"interval":0,"queue":"active_data_flow"}`, string(back), "without an interval, Ruby's default would be an hour")
	_, err = dataflow.RubyRuntime(dataflow.Heartbeat{})
	require.ErrorContains(t, err, "the Ruby gem starts such a flow each hour: set Interval")
	_, err = dataflow.RubyRuntime(dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "@daily"}})
	require.ErrorContains(t, err, "the Ruby gem has intervals only")
}

// A decoder is asked by the name of a flow's own class.
func TestParseRuntime_OwnClass(t *testing.T) {
	t.Parallel()
	const given = `{"class_name":"ProductSyncFlow::Runtime","interval":60}`
	_, err := dataflow.ParseRuntime([]byte(given), nil)
	require.ErrorIs(t, err, dataflow.ErrUnknownType)
	require.ErrorContains(t, err, `class_name "ProductSyncFlow::Runtime"`)
	require.ErrorContains(t, err, "give Config.Runtimes a decoder under this name")
	r, err := dataflow.ParseRuntime([]byte(given), map[string]dataflow.RuntimeDecoder{
		"ProductSyncFlow::Runtime": func(data []byte) (dataflow.Runtime, error) {
			require.JSONEq(t, given, string(data))
			return dataflow.Heartbeat{Interval: time.Minute}, nil
		},
	})
	require.NoError(t, err)
	require.Equal(t, dataflow.Heartbeat{Interval: time.Minute}, r)
}

func TestParseRuntime_Refused(t *testing.T) {
	t.Parallel()
	for data, want := range map[string][]string{
		`{"type":"cron"}`:            {`"cron"`, "unknown type", "heartbeat, job_queue, lazy, mine"},
		`{"type":"Heartbeat"}`:       {`"Heartbeat"`, "unknown type"},
		`{"queue":"etl"}`:            {`no "type"`, `{"queue":"etl"}`},
		`{"type":null}`:              {`no "type"`},
		`{"type":7}`:                 {"type", "number"},
		`null`:                       {`no "type"`},
		`[]`:                         {"[]", "must be a JSON object"},
		`"job_queue"`:                {"must be a JSON object"},
		`{"type":"job_queue"`:        {`{"type":"job_queue"`, "unexpected end"},
		``:                           {"unexpected end"},
		`{"class_name":"Kernel"}`:    {`class_name "Kernel"`, "unknown type", "ActiveDataFlow::Runtime::ActiveJob"},
		`{"class_name":"heartbeat"}`: {`class_name "heartbeat"`, "unknown type"},
		`{"class_name":"ActiveDataFlow::Runtime::Base","type":"job_queue","interval":"x"}`: {`"job_queue"`, `interval "x"`},
		`{"type":"heartbeat","interval":"x"}`:                                              {`"heartbeat"`, `interval "x"`, "seconds"},
		`{"type":"heartbeat","interval":true}`:                                             {"interval true"},
		`{"type":"heartbeat","interval":1e300}`:                                            {"interval 1e300", "range"},
		`{"type":"heartbeat","interval":9223372036.8547759}`:                               {"interval 9223372036.8547759", "range"},
		`{"type":"heartbeat","interval":1e400}`:                                            {"interval 1e400"},
		`{"type":"heartbeat","batch_size":1.5}`:                                            {`"heartbeat"`, "batch_size"},
		`{"type":"heartbeat","enabled":"yes"}`:                                             {"enabled"},
		`{"type":"job_queue","priority":"high"}`:                                           {`"job_queue"`, "priority"},
		`{"type":"job_queue","queue":7}`:                                                   {"queue"},
		`{"type":"mine"}`:                                                                  {`"mine"`, "out of paper"},
		`{"type":"lazy"}`:                                                                  {`"lazy"`},
		`{"type":"nobody"}`:                                                                {`"nobody"`},
	} {
		r, err := dataflow.ParseRuntime([]byte(data), map[string]dataflow.RuntimeDecoder{
			"mine":   func([]byte) (dataflow.Runtime, error) { return nil, errors.New("out of paper") },
			"lazy":   func([]byte) (dataflow.Runtime, error) { return nil, nil },
			"nobody": nil,
		})
		require.Nil(t, r, data)
		requirePublic(t, err)
		for _, part := range want {
			require.ErrorContains(t, err, part, data)
		}
	}
}

// JSON is read as it is stored, whatever Go type it is read into.
func TestRuntime_UnmarshalRefused(t *testing.T) {
	t.Parallel()
	var h dataflow.Heartbeat
	require.ErrorContains(t, json.Unmarshal([]byte(`{"interval":"x"}`), &h), `interval "x"`)
	var j dataflow.JobQueue
	require.ErrorContains(t, json.Unmarshal([]byte(`{"priority":"high"}`), &j), "priority")
	require.ErrorContains(t, json.Unmarshal([]byte(`[]`), &j), "[]")
}

// onCall is a Runtime of the user's own: a JobQueue with a telephone number.
type onCall struct {
	dataflow.JobQueue
	Phone string
}

func (onCall) Type() string { return "on_call" }

func (o onCall) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"phone": o.Phone, "job_queue": o.JobQueue})
}

func decodeOnCall(data []byte) (dataflow.Runtime, error) {
	var v struct {
		Phone    string            `json:"phone"`
		JobQueue dataflow.JobQueue `json:"job_queue"`
	}
	err := json.Unmarshal(data, &v)
	return onCall{Phone: v.Phone, JobQueue: v.JobQueue}, err
}

func TestRuntime_Custom(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("on_call")
		rt := onCall{Phone: "555", JobQueue: dataflow.JobQueue{Queue: "etl", BatchSize: 4}}
		flow := flowTo("on_call", 10, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: rt})
		_, err := dataflow.NewClient(t.driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		requirePublic(t, err)
		require.ErrorContains(t, err, `Flows["on_call"].Runtime`)
		require.ErrorContains(t, err, `Config.Runtimes has no decoder for its type "on_call"`)

		client := t.started(t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{flow}, Runtimes: map[string]dataflow.RuntimeDecoder{"on_call": decodeOnCall},
		}))
		stored, err := client.Flow(t.Context(), "on_call")
		require.NoError(t, err)
		require.Equal(t, rt.Phone, stored.Runtime.(onCall).Phone)
		require.Equal(t, 4, stored.Runtime.Settings().BatchSize)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(stored.RuntimeJSON, &fields))
		require.Equal(t, "on_call", fields["type"])

		run, err := stored.Runtime.Execute(t.Context(), stored)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, "etl", run.Queue)
		t.requireExactly("on_call", 10)

		requireUnreadable(t, run.FlowID)
	})
}

// requireUnreadable checks that a program that cannot read a flow's Runtime still shows
// the flow, and leaves its jobs to a program that can.
func requireUnreadable(t *dbT, flowID int64) {
	t.Helper()
	logs := newLogs()
	stranger := t.started(t.client(&dataflow.Config{Logger: logs.logger(), River: t.withQueue("lost")}))
	flows, err := stranger.Flows(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, flows, 1)
	require.Equal(t, "on_call", flows[0].Name)
	require.False(t, flows[0].Registered())
	for _, start := range starts(flows[0]) {
		_, err := start(t.Context())
		require.ErrorIs(t, err, dataflow.ErrUnknownType)
		require.ErrorContains(t, err, `"on_call"`)
		requirePublic(t, err)
	}

	snoozed, cancel := t.river(stranger).Subscribe(river.EventKindJobSnoozed, river.EventKindJobCompleted)
	defer cancel()
	res, err := t.river(stranger).Insert(t.Context(), dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(flowID)}, &river.InsertOpts{Queue: "lost"})
	require.NoError(t, err)
	event := receive(t, snoozed)
	require.Equal(t, res.Job.ID, event.Job.ID)
	require.Equal(t, river.EventKindJobSnoozed, event.Kind, "another process can work it")
	require.Equal(t, int64(1), t.number("select count(*) from dataflow_run"))
	require.Len(t, logs.lines("job waits"), 1)
}

// jobQueue is a client, not started, with one flow on a JobQueue, and that flow.
func jobQueue(t *dbT, rt dataflow.JobQueue) (*dataflow.Client, *dataflow.Flow) {
	t.Helper()
	t.table("jq")
	client := t.registered(flowTo("jq", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: rt, MaxAttempts: 3}))
	flow, err := client.Flow(t.Context(), "jq")
	require.NoError(t, err)
	return client, flow
}

// requireRows checks how many runs and jobs there are.
func (t *dbT) requireRows(runs, jobs int64) {
	t.Helper()
	require.Equal(t, runs, t.number("select count(*) from dataflow_run"), "runs")
	require.Equal(t, jobs, t.number("select count(*) from river_job"), "jobs")
}

func TestJobQueue_Execute(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client, flow := jobQueue(t, dataflow.JobQueue{Queue: "etl", Priority: 2})
		run, err := flow.Runtime.Execute(t.Context(), flow)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, run.State)
		require.False(t, run.Coalesced)
		require.Equal(t, "etl", run.Queue)
		stored, err := client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, stored, run)

		job, err := t.river(client).JobGet(t.Context(), run.RiverJobID)
		require.NoError(t, err)
		require.Equal(t, "data_flow", job.Kind)
		require.JSONEq(t, fmt.Sprintf(`{"flow_id":%d,"run_id":%d}`, flow.ID, run.ID), string(job.EncodedArgs))
		require.Equal(t, "etl", job.Queue)
		require.Equal(t, 2, job.Priority)
		require.Equal(t, 3, job.MaxAttempts)
		require.Equal(t, rivertype.JobStateAvailable, job.State)

		again, err := flow.Runtime.Execute(t.Context(), flow)
		require.NoError(t, err)
		require.True(t, again.Coalesced)
		again.Coalesced = false
		require.Equal(t, run, again)
		t.requireRows(1, 1)
	})
}

func TestJobQueue_ExecuteAt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client, flow := jobQueue(t, dataflow.JobQueue{Interval: 90 * time.Second})
		scheduled := func(run *dataflow.Run, err error) (*dataflow.Run, time.Time) {
			t.Helper()
			require.NoError(t, err)
			job, err := t.river(client).JobGet(t.Context(), run.RiverJobID)
			require.NoError(t, err)
			require.Equal(t, 1, job.Priority)
			require.Equal(t, dataflow.DefaultQueue, job.Queue)
			require.True(t, job.ScheduledAt.Equal(run.RunAfter), "%s, %s", job.ScheduledAt, run.RunAfter)
			return run, run.RunAfter.UTC()
		}
		zone := time.FixedZone("", 5*3600+1800)
		first, at := scheduled(flow.Runtime.ExecuteAt(t.Context(), flow, someTime.In(zone)))
		require.Equal(t, someTime, at)
		same, err := flow.Runtime.ExecuteAt(t.Context(), flow, someTime)
		require.NoError(t, err)
		require.True(t, same.Coalesced)
		require.Equal(t, first.ID, same.ID)
		t.requireRows(1, 1)

		next, at := scheduled(flow.Runtime.ScheduleNext(t.Context(), flow, someTime))
		require.Equal(t, someTime.Add(90*time.Second), at)
		same, err = flow.Runtime.ExecuteAt(t.Context(), flow, at)
		require.NoError(t, err)
		require.True(t, same.Coalesced)
		require.Equal(t, next.ID, same.ID)

		past, err := flow.Runtime.ExecuteAt(t.Context(), flow, time.Unix(1, 0))
		require.NoError(t, err)
		require.True(t, time.Unix(1, 0).Equal(past.RunAfter))
		require.False(t, past.Coalesced)
		job, err := t.river(client).JobGet(t.Context(), past.RiverJobID)
		require.NoError(t, err)
		require.Equal(t, rivertype.JobStateAvailable, job.State, "River need not wait for its scheduler")
		now, err := flow.Runtime.Execute(t.Context(), flow)
		require.NoError(t, err)
		require.False(t, now.Coalesced)
		t.requireRows(4, 4)
	})
}

// The run and its job are stored together or not at all.
func TestJobQueue_NoJob(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client, flow := jobQueue(t, dataflow.JobQueue{Interval: time.Hour})
		require.NoError(t, t.exec("alter table river_job rename to river_job_gone"))
		for how, start := range starts(flow) {
			run, err := start(t.Context())
			require.ErrorContains(t, err, `start run of flow "jq": insert River job: `, how)
			requirePublic(t, err)
			require.Nil(t, run)
		}
		require.Zero(t, t.number("select count(*) from dataflow_run"))
		require.NoError(t, t.exec("alter table river_job_gone rename to river_job"))
		run, err := client.Trigger(t.Context(), "jq", nil)
		require.NoError(t, err)
		require.False(t, run.Coalesced)
		t.requireRows(1, 1)
	})
}
