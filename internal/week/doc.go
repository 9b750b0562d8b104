// Package week holds the tests that account for every tick of many schedules over a long time.
// It has no code but tests.
//
// One of them lives through a week on a virtual clock: hundreds of flows with schedules and
// policies of all kinds, by processes that stop, die, are away for up to a day, and come back
// with edited schedules, while people pause and resume flows and start runs. The other has real
// processes and schedules of a second. Their oracle computes the ticks without the library, by
// looking at the clock minute by minute, or second by second. It says of each tick beforehand
// whether it starts a run or why it does not, and asks in the end whether the runs and the ledger
// account for every tick exactly once.
//
// "go test" runs their short forms, "make week" the long ones. Settings are
//
//	DATAFLOW_CHAOS=long       the long form
//	DATAFLOW_CHAOS_SEED=7     another week
//	DATAFLOW_WEEK_DAYS=2      how many days the week has
//	DATAFLOW_WEEK_FLOWS=100   how many flows there are
package week
