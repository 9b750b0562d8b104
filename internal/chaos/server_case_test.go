//go:build unix && chaos

package chaos_test

import (
	"testing"
	"time"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Postgres is restarted in immediate mode five times while runs are in progress, once with an
// outage longer than the lease. Oracle: exact, even where the answer to a commit was lost. No
// attempt is spent on the outages.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	rng := dice(t)
	server := dbtest.StartServer(t)
	rows := int64(scaled(6_000, 24_000))
	flow := flowSettings{Batch: 20, Chunk: rows / 3, Limit: rows, Pace: 15 * time.Millisecond, Hold: 10 * time.Millisecond}
	flows := []flowSettings{flow, flow}
	flows[0].Name, flows[0].Queue = "jobs", true
	flows[1].Name = "beats"
	s := stageAt(t, onPostgres, server.URL(), flows)
	s.start(3)
	newFleet(s, 3, workerSettings{Lease: scaled(2*time.Second, 0)})
	s.within(patience, "it works", func() bool { return s.holder() != "" })

	outage := rng.IntN(5)
	for i := range 5 {
		pause(t.Context(), 500*time.Millisecond+time.Duration(rng.Int64N(int64(1500*time.Millisecond))))
		s.db.SetMaxIdleConns(0) // Closes connections that would break.
		server.StopImmediately(t)
		if i == outage {
			pause(t.Context(), scaled(4*time.Second, 30*time.Second))
		}
		server.Start(t)
	}
	s.finished(patience)
	s.exact()
	s.untroubled()
	t.Logf("%d runs were put back", s.number(`select count(*) from chaos_log where event = 'pending' and rescues > 0`))
}
