// Package week holds tests that account for every tick of many schedules over a long time. It
// has no code but tests.
//
// One test simulates a week on a virtual clock, with hundreds of flows and all kinds of
// schedules and policies. Processes stop, die, stay away for up to a day, and come back with
// edited schedules. Meanwhile people pause and resume flows, and start runs. The other test has
// real processes, and schedules of a second.
//
// The oracle of both computes the ticks without the library: it looks at the clock minute by
// minute, or second by second. In the simulated week it predicts for each tick whether it starts
// a run, or why not. At the end, both tests check that the runs and the ledger of skipped ticks
// account for every tick exactly once.
//
// "go test" runs the short forms, "make week" the long ones. Settings are
//
//	DATAFLOW_CHAOS=long       the long form
//	DATAFLOW_CHAOS_SEED=7     another week
//	DATAFLOW_WEEK_DAYS=2      how many days the week has
//	DATAFLOW_WEEK_FLOWS=100   how many flows there are
package week
