// Package chaos holds tests that damage what a user's service cannot choose: its processes
// are killed, stopped and redeployed, and its database is restarted under them, while flows
// run. It has no code but tests.
//
// Each test keeps a fleet of real worker processes, which are the test binary executing
// itself again, and damages it by a schedule that a seed decides. Its oracle asks the
// database when all is over. "Exact" means:
//
//   - The target, which has no unique key, holds each number of the source exactly once, up
//     to the flow's cursor, and that is at the source's end.
//   - The counters of the runs and of the checkpoint, and the ways that the runs' cursors have
//     gone, are of just as many records.
//   - Every run has ended, and succeeded.
//   - The log that the database's own triggers have written, in the transactions that it tells
//     of, never shows two of a flow's own runs in progress, a checkpoint of a run that is not, a
//     commit under a lease older than the last, or, on Postgres, one by the connection of a
//     worker other than the one that has the run.
//
// The cases, and what each asks beyond that:
//
//	TestKill                  A worker is killed every 2 s; Postgres with 4 workers, SQLite with
//	                          one. Take-over within 15 s (long form, default settings).
//	TestKill_ManyFlows        The same with many flows of several runs each (long form: 200).
//	TestKillPoints            A worker dies at each point of claim, write, checkpoint, slice,
//	                          finish, rescue and renewal; both databases, both runtimes. The
//	                          run goes on within the lease and what it takes to notice.
//	TestPoison                A record that ends the process: its run fails after MaxRescues
//	                          and names the cursor; everything before is there once; the
//	                          other flows end well.
//	TestStopped               SIGSTOP for three leases, at any moment and at points: another
//	                          goes on meanwhile; the one that wakes up says once that its run
//	                          was taken over.
//	TestStopped_Alone         The same with nobody to take over: no attempt is spent.
//	TestDeploy                SIGTERM, one worker after the other, every 3 s: no attempt is
//	                          spent, nobody is rescued; between two checkpoints p99 ≤ 2 s (long).
//	TestServerRestart         Postgres is stopped in immediate mode five times, once for longer
//	                          than a lease (long: 30 s): no attempt is spent.
//	TestConflicts             Another writer causes deadlocks and serialization failures: what
//	                          all have added up is exact too.
//	TestRescuedJob            River gives the job of a dead worker to another one late: it
//	                          finds nothing to do; no job is left.
//	TestElsewhere_Kill        The target is in a second database: a worker is killed every 2 s,
//	TestElsewhere_KillPoints  and at each point around the two commits and of bringing the
//	                          cursors together. Both databases' cursors agree in the end, and
//	                          the second is one batch ahead at most.
//	TestElsewhere_Stopped     SIGSTOP in the second database's transaction: as TestStopped.
//	TestFollow                Twelve writers insert rows and keep transactions open for 3 s,
//	                          flows follow by time every 500 ms, workers are killed: no row is
//	                          missed or copied twice. A flow without guard does miss some.
//
//	TestBackfills             Four workers work eight ranges of each flow, four at once, beside its
//	                          own runs, and one is killed every 2 s: what the ranges and the own
//	                          runs read is there once; by the log never more than four
//	                          backfills of a flow, nor two of its own runs, in progress.
//
// They are built with the tag "chaos" alone: "make chaos" runs their long form, and "make
// test", behind all others, a short one. Settings are
//
//	DATAFLOW_CHAOS=long       the long form
//	DATAFLOW_CHAOS_SEED=7     another schedule of damage
//	DATAFLOW_CHAOS_LOGS=dir   keeps the workers' logs
//
// The directory model has a model of the same protocol, which "make model" checks.
package chaos
