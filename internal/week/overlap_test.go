package week_test

import "github.com/activedataflow/dataflow"

// overlaps are the policies of the invented flows, in turns.
var overlaps = []dataflow.Overlap{
	"", dataflow.OverlapSkip, dataflow.OverlapBufferOne, dataflow.OverlapBufferAll, dataflow.OverlapBufferAll,
	dataflow.OverlapCancelOther, dataflow.OverlapAllow(1), dataflow.OverlapAllow(2), dataflow.OverlapAllow(3),
}

func (s *spec) setOverlap(i int) {
	s.schedule.Overlap = overlaps[i%len(overlaps)]
	if s.slots() > 1 {
		s.cursor = false
	}
}

// slots is how many runs of the flow may be in progress at once.
func (s *spec) slots() int {
	for n := 1; n < 10; n++ {
		if s.schedule.Overlap == dataflow.OverlapAllow(n) {
			return n
		}
	}
	return 1
}

// admits is the oracle's own opinion of a tick that comes while so many runs are in progress or
// wait, some of them ticks that have not begun.
func (s *spec) admits(all, waitingTicks int) bool {
	switch s.schedule.Overlap {
	case dataflow.OverlapBufferOne:
		return waitingTicks == 0
	case dataflow.OverlapBufferAll:
		return waitingTicks < 1000
	case dataflow.OverlapCancelOther:
		return true
	default:
		return all < s.slots()
	}
}
