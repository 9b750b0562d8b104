// Package chaos holds tests that damage what a user's service cannot choose: its processes
// are killed, stopped and redeployed, and its database is restarted under them, while flows
// run. It has no code but tests.
//
// Each test keeps a fleet of real worker processes, which are the test binary executing
// itself again, and damages it by a schedule that a seed decides. Its oracle asks the
// database when all is over: the target, which has no unique key, holds each number of the
// source exactly once; the counters of the runs agree; every run has ended; and the log that
// the database's own triggers wrote shows never two runs of a flow at once, nor a commit by a
// worker whose run another one had taken over.
//
// They are built with the tag "chaos" alone: "make chaos" runs their long form, and
// "go test -tags chaos ./internal/chaos" a short one. Settings are
//
//	DATAFLOW_CHAOS=long       the long form
//	DATAFLOW_CHAOS_SEED=7     another schedule of damage
//	DATAFLOW_CHAOS_LOGS=dir   keeps the workers' logs
package chaos
