//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A worker claims the runs of many flows together, and ends many together. It dies just after the
// database has confirmed that, or it does not learn the answer. Oracle: exact. Each run that was
// claimed is taken over, and none is worked twice: by the log, a run was claimed once more for
// each time that its worker was lost, and no run of a lost answer to an end was claimed again.
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, queue := range []bool{true, false} {
			t.Run(string(k)+"/"+runtimeName(queue), func(t *testing.T) {
				t.Parallel()
				groups(t, k, queue)
			})
		}
	}
}

// claimedAgain counts the runs that were claimed more than once.
const claimedAgain = `select count(*) from dataflow_run where lease_no > 1`

func groups(t *testing.T, k kind, queue bool) {
	t.Helper()
	const lease = 2 * time.Second
	flows := make([]flowSettings, 100)
	for i := range flows {
		flows[i] = flowSettings{Name: fmt.Sprintf("numbers %d", i), Queue: queue, Batch: 50, Chunk: 20}
	}
	s := newStage(t, k, flows)
	f := newFleet(s, 1, workerSettings{Lease: lease, Conns: 30, AtOnce: 100})
	round := 0
	for _, order := range []struct {
		action, point string
		reworked      bool
	}{
		{actionKill, "claims/committed", true},
		{actionLose, "claims/committed", true},
		{actionKill, "ends/committed", false},
		{actionLose, "ends/committed", false},
	} {
		before := s.number(claimedAgain)
		f.order(order.action, order.point)
		for tries := 0; !f.obeyed(order.action, order.point); tries++ {
			require.Less(t, tries, 50, "no group of several has been at %s", order.point)
			for _, flow := range flows {
				s.startOne(flow.Name, round)
			}
			round++
			s.finished(patience)
		}
		lost := s.number(claimedAgain) - before
		t.Logf("%s at %s: %d runs were claimed again", order.action, order.point, lost)
		if order.reworked {
			require.GreaterOrEqual(t, lost, int64(several), "each run of the group is taken over")
		}
	}
	require.Zero(t, s.number(`select count(*) from chaos_log ended join chaos_log began on began.run = ended.run and began.id > ended.id
		where ended.event = 'success' and began.event = 'in_progress'`), "a run that was ended is not worked again")
	s.within(patience, "the rescues are noticed", func() bool { return s.number(unfinished) == 0 })
	for _, e := range s.exact() {
		if e.event == "failed" {
			require.Failf(t, "a run has failed", "run %d", e.run)
		}
	}
	// On a slow machine more leases lapse than those of the lost workers.
	require.Zero(t, s.number(`select count(*) from dataflow_run r where attempt > lease_no or lease_no >
		1 + (select count(*) from chaos_log l where l.run = r.id and l.event = 'pending' and l.rescues > 0)`), "a run was claimed again, and was not rescued before")
}
