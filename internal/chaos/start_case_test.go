//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Workers start runs of many flows and work them in the same process: many are added and claimed
// together. A worker dies just after the database has confirmed that, or does not learn the answer.
// Oracle: exact. Each of these runs is taken over, and none is worked twice: each run read a chunk. One
// that was killed between its checkpoint and its end reads the next chunk, too.
func TestStarts(t *testing.T) {
	t.Parallel()
	const lease, chunk = 2 * time.Second, 2
	flows := make([]flowSettings, 100)
	for i := range flows {
		flows[i] = flowSettings{Name: fmt.Sprintf("numbers %d", i), Batch: 50, Chunk: chunk, Pace: 50 * time.Millisecond}
	}
	s := newStage(t, onPostgres, flows)
	f := newFleet(s, 1, workerSettings{Lease: lease, Conns: 30, AtOnce: 100, Triggers: 100})
	for range scaled(1, 10) {
		for _, action := range []string{actionKill, actionLose} {
			before := s.number(claimedAgain)
			f.order(action, "starts/committed")
			s.within(patience, "a group of several has been started", func() bool { return f.obeyed(action, "starts/committed") })
			s.within(patience, "each run of the group is taken over", func() bool { return s.number(claimedAgain)-before >= several })
			t.Logf("%s: %d runs were claimed again", action, s.number(claimedAgain)-before)
		}
	}
	f.close()
	f = newFleet(s, 1, workerSettings{Lease: lease, Conns: 30, AtOnce: 100})
	s.finished(patience)
	s.exact()
	require.Zero(t, s.number(fmt.Sprintf(`select count(*) from dataflow_run where read < %d or read > %[1]d and lease_no = 1`, chunk)), "a run was worked twice, or not at all")
	f.close()
}
