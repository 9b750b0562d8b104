package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// elsewhere is another transactional store, which only appends.
type elsewhere struct {
	fence int64
	state json.RawMessage
	rows  []int
	// before, if set, is called before a batch is written. If it returns an error,
	// nothing is written.
	before func(rows []int) error
	// after is called after a batch is committed. The writer gets its error.
	after func(rows int) error
}

func (s *elsewhere) AppendOnly() bool { return true }

func (s *elsewhere) Claim(_ context.Context, _ string, fence int64) (json.RawMessage, error) {
	if fence < s.fence {
		return nil, dataflow.ErrFenced
	}
	s.fence = fence
	return s.state, nil
}

func (s *elsewhere) WriteFenced(_ context.Context, b dataflow.FencedBatch[int]) error {
	if b.Fence != s.fence {
		return fmt.Errorf("fence %d is not %d: %w", b.Fence, s.fence, dataflow.ErrFenced)
	}
	if s.before != nil {
		if err := s.before(b.Rows); err != nil {
			return err
		}
	}
	s.rows, s.state = append(s.rows, b.Rows...), b.State
	if s.after != nil {
		return s.after(len(s.rows))
	}
	return nil
}

// An attempt breaks between the sink's commit and ours, again and again. The sink is
// then one batch ahead, and the next attempt goes on after that batch.
func TestToFenced_BreaksBetweenTheCommits(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		breaks := 0
		sink := &elsewhere{after: func(rows int) error {
			if rows%20 == 0 && breaks < 4 {
				breaks++
				return errors.New("the wire was cut")
			}
			return nil
		}}
		odd := dataflow.Filter(func(n int) bool { return n%2 == 1 })
		flow := dataflow.NewFlow("far", numbers{n: 95}, odd, dataflow.ToFenced(sink), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 10}, Backoff: func(int) time.Duration { return time.Millisecond },
		})
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}}))
		run, err := t.execute(client, "far")
		require.ErrorContains(t, err, "the wire was cut")
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)

		require.Equal(t, 2, breaks)
		require.Len(t, sink.rows, 48)
		for i, n := range sink.rows {
			require.Equal(t, 2*i+1, n)
		}
		require.Equal(t, dataflow.Counters{Read: 95, Written: 48, Filtered: 47}, run.Counters)
		require.Equal(t, "95", string(run.ToCursor))
	})
}

// A sink that has seen a newer claim refuses an older one. If no claim of ours can have
// written it, the error says so.
func TestToFenced_NewerClaim(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := &elsewhere{fence: 1000}
		flow := dataflow.NewFlow("far", numbers{n: 5}, dataflow.Identity[int](), dataflow.ToFenced(sink), nil)
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.NoError(t, client.Register(t.Context()))
		run, err := t.execute(client, "far")
		require.ErrorContains(t, err, "restored from a backup")
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Empty(t, sink.rows)
	})
}
