// Package dataflow runs data flows inside a Go service.
//
// A flow reads records from a source, transforms them, writes them to a sink,
// and remembers where it was. A run is one execution of a flow. Rows and cursor
// are committed in one transaction, so that a run that breaks goes on at its last
// checkpoint, with nothing lost and nothing doubled.
//
// # Declaring a flow
//
// [NewFlow] puts a [Source], a [Transform] and a [Target] together. Their types
// are inferred, and end there:
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
// The packages below connector have sources and sinks for files and tables;
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
// A run is started through the flow's [Runtime], which says when and where it is
// worked: [Heartbeat] in process, [JobQueue] by a River job:
//
//	flow, err := client.Flow(ctx, "orders")
//	run, err := flow.Runtime.Execute(ctx, flow)
//	run, err = client.Wait(ctx, run.ID)
//
// [Client.Trigger] does the same by the flow's name, and [Client.TriggerTx] in
// the caller's own transaction.
//
// # Schedules
//
// A Runtime with an Interval, or a [Schedule] with a Cron, runs its flow by itself
// as long as any started client has the flow's code. A tick that comes while the
// flow is busy goes by the [Overlap] policy, one that nobody was there to see by
// [CatchUp]. Every tick becomes a run, or is among [Client.SkippedTicks] with the
// reason; [Client.Why] says why a flow is not running now.
//
// # How a run goes
//
// A run is pending, then in progress, then a success, failed or cancelled; see
// [RunState]. A [FlowExecutor] claims it, which no other process can do at the
// same time, and no other run of the flow is in progress then. It reads a batch
// of records, transforms them outside any transaction, and writes them together
// with the cursor and the counters in one transaction, while the next batch is
// read. A batch ends at the first resume point at or behind the Runtime's batch
// size.
//
// An error, or a panic, ends the attempt. The run becomes pending again with a
// later time, until its attempts are used up. [Permanent], [Transient] and
// [RetryAfter] let a source, a transform or a sink say otherwise. A record that is bad by itself is a
// [RecordError], about which the flow's [Policy] decides.
//
// # Guarantees
//
// [ToTx] writes in the checkpoint's transaction: exactly once. [ToReplace] replaces what
// is there, as a whole, by what a run has written. [ToFenced] writes to another
// transactional store, which keeps the checkpoint too: exactly once.
// [To] writes before the checkpoint: at least once, with the same batch ID and the
// same keys at every retry. See [Guarantee].
//
// A process that is killed loses its lease, and another goes on at the last
// checkpoint; one that was stalled and wakes up too late can commit nothing.
// [Client.Cancel] ends a run from any process.
//
// # Watching
//
// [Client.Subscribe] tells what this process does; [Client.Progress], [Client.Run]
// and [Client.Runs] what all do. Log lines have the keys flow, run, attempt,
// worker, duration and records.
package dataflow
