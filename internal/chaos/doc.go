// Package chaos holds tests that do to flows what happens to services in production: while
// flows run, their processes are killed, stopped and redeployed, and their database is
// restarted. It has no code but tests.
//
// Each test keeps a fleet of real worker processes: the test binary executes itself again. It
// damages the fleet by a schedule that depends on a seed. Its oracle queries the database when
// all is over. "Exact" means:
//
//   - The target, which has no unique key, holds each number of the source exactly once, up to
//     the flow's cursor. The cursor is at the end of the source.
//   - The counters of the runs and of the checkpoint, and the distances that the runs' cursors
//     moved, agree with the number of records.
//   - Every run has ended with success.
//
// Triggers of the database write a log, each entry in the transaction that caused it. "Exact"
// also means that the log never shows
//
//   - two of a flow's own runs in progress;
//   - a checkpoint of a run that is not in progress;
//   - a commit under an old lease;
//   - on Postgres, a commit by the connection of a worker that does not have the run.
//
// The cases, and what each demands beyond that:
//
//	TestKill                  A worker is killed every 2 s; Postgres with 4 workers, SQLite with
//	                          one. Take-over within 15 s (long form, default settings).
//	TestKill_ManyFlows        The same with many flows of several runs each (long form: 200).
//	TestKillPoints            A worker dies at each point of claim, write, checkpoint, slice,
//	                          finish, rescue and renewal; both databases, both runtimes. The
//	                          run goes on after the lease and the time to notice.
//	TestGroups                A worker dies after it has claimed many runs together, and after
//	                          it has ended many together; or it loses the answer. Each run is
//	                          worked once, and those that were ended stay as they are.
//	TestFirstLoad             A worker is killed while the first run of a flow waits for its ranges.
//	                          The target holds each number once, and the cursor is at their end.
//	TestPoison                A poison message ends the process. Its run fails after MaxRescues
//	                          and names the cursor; every record before the batch is there
//	                          once; the other flows succeed.
//	TestStopped               SIGSTOP for three leases, at any moment and at points. Another
//	                          worker goes on meanwhile. The stopped worker wakes up and says
//	                          once that its run was taken over.
//	TestStopped_Alone         The same without another worker: no attempt is spent.
//	TestDeploy                SIGTERM, one worker after the other, every 3 s: no attempt is
//	                          spent, no run is rescued; between two checkpoints p99 ≤ 2 s (long).
//	TestServerRestart         Postgres is stopped in immediate mode five times, once for longer
//	                          than a lease (long: 30 s): no attempt is spent.
//	TestConflicts             Another writer causes deadlocks and serialization failures: the
//	                          sums of all writers are exact too.
//	TestRescuedJob            River gives the job of a dead worker to another one late. That
//	                          job finds nothing to do, and no job is left.
//	TestElsewhere_Kill        The target is in a second database. A worker is killed every 2 s,
//	TestElsewhere_KillPoints  or at each point around the two commits and of the catch-up. Both
//	                          databases' cursors agree in the end. The second database is one
//	                          batch ahead at most.
//	TestElsewhere_Stopped     SIGSTOP in the second database's transaction: as TestStopped.
//	TestFollow                Twelve writers insert rows and keep transactions open for 3 s,
//	                          flows follow by time every 500 ms, workers are killed. No row is
//	                          missed or copied twice. A flow without guard does miss some.
//	TestBackfills             Four workers work eight ranges of each flow, four at once, beside
//	                          its own runs; one worker is killed every 2 s. The target holds
//	                          what they read once. By the log, at most four backfills and one
//	                          own run of a flow are in progress at once.
//
// The tests need the build tag "chaos". "make chaos" runs their long form. "make test" runs a
// short form, after all other tests. Settings are
//
//	DATAFLOW_CHAOS=long       the long form
//	DATAFLOW_CHAOS_SEED=7     another schedule of damage
//	DATAFLOW_CHAOS_LOGS=dir   keeps the workers' logs
//
// The directory model has a model of the same protocol. "make model" checks it.
package chaos
