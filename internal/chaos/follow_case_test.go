//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Twelve writers insert rows, and keep some of their transactions open for up to 3 s. Flows that
// follow the rows by their time run every 500 ms. Every 2 s a worker is killed.
//
// Oracle: after the writers have ended, the target of each flow, which has no unique key, holds
// each row once, and the flow's counters agree. A flow without a guard has missed rows, which
// shows that the oracle detects them.
func TestFollow(t *testing.T) {
	t.Parallel()
	rng := dice(t)
	flow := flowSettings{Queue: true, Batch: 50, Pace: 50 * time.Millisecond, Follow: guarded}
	flows := []flowSettings{flow, flow, flow}
	flows[0].Name, flows[1].Name = "jobs", "beats"
	flows[1].Queue = false
	flows[2].Name, flows[2].Follow = "unguarded", unguarded
	s := newStage(t, onPostgres, flows)
	f := newFleet(s, 3, workerSettings{Lease: scaled(2*time.Second, 0)})

	written, enough := make(chan *inserted, 1), make(chan struct{})
	seed := rng.Uint64()
	go func() { written <- insertRows(t.Context(), s.url, seed, enough) }()
	end := time.After(scaled(8*time.Second, time.Minute))
	var did *inserted
	runs := 0
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for did == nil {
		select {
		case did = <-written:
		case <-end:
			s.within(patience, "the flow without a guard has passed rows by", func() bool { s.followOn(runs); runs++; return s.passed("unguarded") > 0 })
			close(enough)
		case <-tick.C:
			s.followOn(runs)
			if runs++; runs%4 == 0 {
				f.killAny(rng)
			}
		}
	}
	require.NoError(t, did.err)
	require.Positive(t, did.held)
	s.within(scaled(patience, 2*time.Minute), "the flows have caught up", func() bool {
		s.followOn(runs)
		runs++
		pause(t.Context(), 500*time.Millisecond)
		return s.missed("jobs") == 0 && s.missed("beats") == 0
	})
	s.finished(patience)

	t.Logf("%d transactions, %d of them kept open, the longest %s; %d rolled back; %d rows; %d runs of %d flows; %d workers were started",
		did.committed, did.held, did.longest.Round(time.Millisecond), did.rolledBack, s.number(`select count(*) from chaos_row`),
		s.number(`select count(*) from dataflow_run`), len(flows), f.starts)
	require.Zero(t, s.number(`select count(*) from dataflow_run where state <> 'success'`), "runs that have failed")
	for i := range flows {
		s.followedOnce(&flows[i])
	}
	passed := s.passed("unguarded")
	t.Logf("without a guard %d rows were missed", passed)
	require.Positive(t, passed)
	log := s.log()
	s.checkLog(log)
	t.Logf("take-over %s", takeovers(log))
}

// killAny kills a random worker, or one that has a run.
func (f *fleet) killAny(rng *rand.Rand) {
	f.Helper()
	slot := rng.IntN(len(f.workers))
	if rng.IntN(2) == 0 {
		slot = max(f.slotOf(f.holder()), 0)
	}
	f.kill(slot)
}

// followOn starts a run of each flow that has none waiting.
func (s *stage) followOn(i int) {
	s.Helper()
	for _, f := range s.flows {
		if s.number(fmt.Sprintf(`select count(*) from dataflow_run r join dataflow_flow f on f.id = r.flow_id where f.name = '%s' and r.state = 'pending'`, f.Name)) > 0 {
			continue // another run would read nothing more
		}
		_, err := s.client.Trigger(s.Context(), f.Name, &dataflow.TriggerOptions{At: time.Unix(int64(i), 0)})
		require.NoError(s, err)
	}
}

// missed counts the rows that a flow has not copied.
func (s *stage) missed(flow string) int64 {
	s.Helper()
	return s.number(fmt.Sprintf(`select count(*) from chaos_row r where not exists (select from chaos_target where flow = '%s' and n = r.id)`, flow))
}

// passed counts the rows that a flow has not copied, though it has copied later ones.
func (s *stage) passed(flow string) int64 {
	s.Helper()
	return s.number(fmt.Sprintf(`select count(*) from chaos_row r where not exists (select from chaos_target where flow = '%[1]s' and n = r.id)
		and updated_at < (select max(updated_at) from chaos_row join chaos_target on n = id where flow = '%[1]s')`, flow))
}

// followedOnce checks that a flow has copied no row twice, and only committed rows, and that its
// counters agree.
func (s *stage) followedOnce(f *flowSettings) {
	s.Helper()
	where := fmt.Sprintf(`where flow = '%s'`, f.Name)
	copied := s.number(`select count(*) from chaos_target ` + where)
	require.Equal(s, copied, s.number(`select count(distinct n) from chaos_target `+where), "flow %s: rows copied twice", f.Name)
	require.Equal(s, copied, s.number(`select count(*) from chaos_row`)-s.missed(f.Name), "flow %s: rows that were never committed", f.Name)
	for _, table := range []string{"dataflow_run", "dataflow_checkpoint"} {
		for _, counter := range []string{"read", "written"} {
			require.Equal(s, copied, s.number(fmt.Sprintf(`select coalesce(sum(%s), 0) from %s where flow_id = (select id from dataflow_flow where name = '%s')`, counter, table, f.Name)),
				"flow %s: %s by %s", f.Name, counter, table)
		}
	}
}
