// Package dataflow runs data flows inside a Go service.
//
// A flow reads records from a source, transforms them, writes them to a sink, and
// remembers where it was. A run is one execution of a flow. It commits rows and cursor in
// one transaction. So a run that breaks goes on at its last checkpoint, and no record is
// lost or written twice.
//
// # Declaring a flow
//
// [NewFlow] puts a [Source], a [Transform] and a [Target] together. Go infers their
// types, and a [Flow] has none:
//
//	orders := dataflow.NewFlow("orders",
//		pgtable.Keyset[Order](shop, pgtable.Query{
//			SQL: `select id, email, cents, updated_at from orders`,
//			Key: []string{"updated_at", "id"},
//		}),
//		dataflow.Pipe(dataflow.Filter(paid), dataflow.Map(toFact)),
//		pgtable.Upsert[OrderFact]("order_facts", "order_id"),
//		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}})
//
// The packages below connector have sources and sinks for files, tables and APIs.
// [Paged] makes a source of a function.
//
// # Running it
//
// A [Client] keeps flows and runs in a database. Package dataflowpgx connects it
// to Postgres, package dataflowsqlite to SQLite:
//
//	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{orders}})
//	err = client.Migrate(ctx) // River's tables and ours
//	err = client.Start(ctx)   // registers the flows and works runs
//	defer client.Stop(ctx)    // hands back what is unfinished
//
// The flow's [Runtime] starts a run, and says when and where it is worked: [Heartbeat] in
// process, [JobQueue] by a River job:
//
//	flow, err := client.Flow(ctx, "orders")
//	run, err := flow.Runtime.Execute(ctx, flow)
//	run, err = client.Wait(ctx, run.ID)
//
// [Client.Trigger] does the same by the flow's name, and [Client.TriggerTx] in the caller's
// own transaction.
//
// # Schedules
//
// A Runtime with an Interval, or a [Schedule] with a Cron, runs its flow by itself as long
// as any started client has the flow's code. [Overlap] decides about a tick that comes
// while the flow is busy. [CatchUp] decides about a tick that no process saw. Every tick
// becomes a run, or is among [Client.SkippedTicks] with the reason. [Client.Why] says why
// a flow is not running now.
//
// # How a run goes
//
// A run is pending, then in progress, and ends as a success, failed or cancelled. See
// [RunState]. A [FlowExecutor] works it:
//
//   - It claims the run. Only one process can, and only while no other run of the flow is
//     in progress. [OverlapAllow] and MaxBackfills allow more.
//   - It reads a batch of records. A batch ends at the first resume point where it has
//     reached the Runtime's batch size.
//   - It transforms the batch, outside any transaction.
//   - It writes the batch, the cursor and the counters in one transaction. The next
//     batch is read and transformed at the same time.
//
// An error or a panic ends the attempt. The run becomes pending again with a later time,
// until its attempts are used up. A source, a transform or a sink can change that by
// [Permanent], [Transient] and [RetryAfter]. The flow's [Policy] decides about a single
// bad record, a [RecordError].
//
// # Guarantees
//
// The target decides how often a record arrives. See [Guarantee].
//
//   - [ToTx] writes in the checkpoint's transaction: exactly once.
//   - [ToReplace] replaces the sink's whole content by what a run writes: exactly once.
//   - [ToFenced] writes to another transactional store, which keeps the checkpoint too:
//     exactly once.
//   - [To] writes before the checkpoint: at least once, with the same batch ID and keys
//     at every retry.
//
// A killed process loses its lease, and another process goes on at the last checkpoint. A
// process that was stalled and wakes up too late cannot commit anything. [Client.Cancel]
// ends a run from any process.
//
// # Watching
//
// [Config].OnRunEnded is called for each ended run, in any process, and a crash does not lose the
// call. [Client.Subscribe] reports what this process does. [Client.Progress], [Client.Run] and
// [Client.Runs] show what all processes do. Log lines have the keys flow, run, attempt,
// worker, duration and records.
package dataflow

// The rooms of this package, from the top down. The prefix of a file's name is its room. A
// room uses its own code and the rooms below it.
//
//   - client_*, dataflow.go: what a user calls: checks, one transaction, an answer.
//   - worker, scheduler, rescue, register, presence, cleaner, callback, job: what a started client
//     does by itself: works due runs, fires ticks, takes over the runs of dead workers, cleans up,
//     calls OnRunEnded.
//   - executor: one run, from its claim to its end.
//   - loop: reads, transforms and writes records. Only here are the types T, C and Out known.
//   - attempt: one attempt at a run: leases, checkpoints, commits.
//   - connections: which runs begin, by the connections that their pools have left.
//   - start: what a run is asked for, and the keys under which it waits.
//   - jobs, river: the River jobs of runs.
//   - registry: the flows that this process has.
//   - stop: the gate: what Stop waits for.
//   - The other files are the words of the API: flow, run, source, transform, sink, policy,
//     retry, schedule, runtime, driver, errors and so on. They use internal packages alone.
