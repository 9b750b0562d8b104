package main

import (
	"fmt"
	"strings"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow"
)

func jobQueue(s dataflow.Schedule) dataflow.Runtime {
	return dataflow.JobQueue{Schedule: s, Queue: river.QueueDefault}
}
func heartbeat(s dataflow.Schedule) dataflow.Runtime { return dataflow.Heartbeat{Schedule: s} }

// benches are all measurements, in the order of the table.
func (e *env) benches() []bench {
	s := e.size
	all := []bench{
		{
			key: "runs", short: true, baseName: "River", ours: e.drain(s.runs, s.runFlows, e.tuned), base: e.drainRiver(s.runs, e.tuned),
			rows: []row{
				{work: fmt.Sprintf("%d no-op runs over %d flows, River tuned", s.runs, s.runFlows), metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.6},
				{work: "CPU of the process a run", metric: "own CPU", unit: "ms"},
				{work: "CPU of Postgres a run", metric: "server CPU", unit: "ms"},
				{work: "statements a run", metric: "statements", kind: atMost, target: 1.5, firm: true},
				{work: "commits a run", metric: "commits", kind: atMost, target: 0.1, firm: true, allowed: 0.5},
				{work: "bytes of WAL a run", metric: "WAL", kind: atMost, target: 3500, firm: true, allowed: 5000},
			},
		},
		{
			key: "defaults", baseName: "River", ours: e.drain(s.defaults, s.defaults, e.plain), base: e.drainRiver(s.defaults, e.plain),
			rows: []row{{work: fmt.Sprintf("%d no-op runs over %d flows, River's defaults", s.defaults, s.defaults), metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.95}},
		},
		{
			key: "trigger", baseName: "Insert", ours: e.triggering(trigger), base: e.inserting(insert),
			rows: []row{
				{work: "Trigger, JobQueue", metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.75},
				{work: "statements of a Trigger", metric: "statements"},
			},
		},
		{
			key: "trigger-tx", baseName: "InsertTx", ours: e.triggering(triggerTx), base: e.inserting(insertTx),
			rows: []row{{work: "TriggerTx, JobQueue", metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.75}},
		},
		{key: "latency-jobqueue", baseName: "Insert → Work", ours: e.flowLatency(onQueue()), base: e.riverLatency(), rows: latencyRows("JobQueue")},
		{key: "latency-heartbeat", baseName: "Insert → Work", ours: e.flowLatency(dataflow.Heartbeat{}), base: e.riverLatency(), rows: latencyRows("Heartbeat")},
		{key: "dbos", baseName: "DBOS workflows", ours: e.inProcess(s.runs / 2), base: e.dbosInProcess(s.runs / 2), rows: []row{
			{work: "no-op runs in process", metric: "per second", unit: "a second", kind: speedAtLeast, target: 1.5},
		}},
		{key: "dbos-queue", baseName: "DBOS queue", ours: e.drain(s.runs/2, s.runFlows, e.tuned), base: e.dbosDrained(s.runs / 2), rows: []row{
			{work: "a queue is drained", metric: "per second", unit: "a second", kind: speedAtLeast, target: 1.5},
		}},
	}
	all = append(all, e.dueBenches()...)
	all = append(all, e.startBenches()...)
	return append(append(all, e.historyBenches()...), e.pageBench())
}

func latencyRows(runtime string) []row {
	return []row{
		{work: "enqueue → source read at idle, " + runtime + ", p50", metric: "p50", unit: "ms", kind: timeAtMost, target: 1.3},
		{work: "the same, p99", metric: "p99", unit: "ms", kind: timeAtMost, target: 1},
	}
}

func (e *env) dueBenches() []bench {
	s := e.size
	var all []bench
	for _, r := range []struct {
		name string
		rt   func(dataflow.Schedule) dataflow.Runtime
	}{{"JobQueue", jobQueue}, {"Heartbeat", heartbeat}} {
		all = append(all, bench{
			key: "due-" + strings.ToLower(r.name), baseName: "River's periodic jobs", ours: e.due(s.dueNow, r.rt, e.plain), base: e.dueRiver(s.dueNow, e.plain),
			rows: []row{{work: fmt.Sprintf("%d flows due at once, %s: last one started after", s.dueNow, r.name), metric: "last", unit: "s", kind: timeAtMost, target: 1}},
		}, bench{
			key: "due-many-" + strings.ToLower(r.name), baseName: "River's periodic jobs", ours: e.due(s.dueMany, r.rt, e.tuned), base: e.dueRiver(s.dueMany, e.tuned),
			rows: []row{
				{work: fmt.Sprintf("%d flows due in one minute, %s: last one started after", s.dueMany, r.name), metric: "last", unit: "s", kind: atMost, target: 6},
				{work: "all of them fired after", metric: "fired", unit: "s", kind: atMost, target: 2},
				{work: "started within the minute", metric: "started", kind: atLeast, target: float64(s.dueMany)},
			},
		})
		if s.dueHuge > 0 {
			all = append(all, bench{
				key: "due-huge-" + strings.ToLower(r.name), pairs: 1, ours: e.due(s.dueHuge, r.rt, e.tuned),
				rows: []row{
					{work: fmt.Sprintf("%d flows due in one minute, %s: started within the minute", s.dueHuge, r.name), metric: "started", kind: atLeast, target: float64(s.dueHuge)},
					{work: "fired, p99", metric: "fired p99", unit: "s late", kind: atMost, target: 5},
				},
			})
		}
	}
	return all
}

func (e *env) startBenches() []bench {
	s := e.size
	all := []bench{{key: "start", ours: e.starting(s.start), rows: startRows(s.start, 1)}}
	if s.startHuge > 0 {
		all = append(all, bench{key: "start-huge", ours: e.starting(s.startHuge), rows: startRows(s.startHuge, 8)})
	}
	idle := func(with string) []row {
		return []row{
			{work: fmt.Sprintf("idle with %d flows, %s River, own CPU, %% of a core", s.idle, with), metric: "own %", kind: atMost, target: 0.5},
			{work: "idle, CPU of Postgres, % of a core", metric: "Postgres %", kind: atMost, target: 0.5},
			{work: "idle, statements a second", metric: "statements/s"},
		}
	}
	return append(all,
		bench{key: "idle", baseName: "River, idle", pairs: min(s.pairs, 2), ours: e.idling(s.idle, e.plain), base: e.idlingRiver(), rows: idle("with")},
		// All flows are on Heartbeat, so that the process has no use for River.
		bench{key: "idle-alone", pairs: min(s.pairs, 2), ours: e.idling(s.idle, func() *river.Config { return nil }), rows: idle("without")})
}

func startRows(n int, seconds float64) []row {
	return []row{
		{work: fmt.Sprintf("NewClient and Start of %d unchanged flows", n), metric: "seconds", unit: "s", kind: atMost, target: seconds},
		{work: "statements a flow", metric: "statements"},
	}
}
