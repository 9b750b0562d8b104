package dataflow

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAttempt_VerdictTimedOut has a River job whose time ends in the middle of a batch. Its
// error names what was slow: the source, if that has said nothing, and else the batch.
func TestAttempt_VerdictTimedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		heard, away bool
		transform   bool // it works
		want        string
	}{
		"silent source":  {want: `the job's time ended, 1m0s and the 1m0s after it, while the source \(custom\) had said nothing since 20.*: its server or the network may be silent; FlowOptions.ReadTimeout`},
		"slow batch":     {heard: true, want: `a batch did not end within 1m0s .*: use a smaller BatchSize`},
		"slow sink":      {away: true, want: `a batch did not end within 1m0s .*: use a smaller BatchSize`},
		"slow transform": {transform: true, want: `a batch did not end within 1m0s .*: the transform \(custom\) had worked on it since 20.*: use a smaller BatchSize`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now())
			defer cancel()
			watch := &readWatch{epoch: time.Now().Add(-time.Minute)}
			if c.heard {
				watch.note()
			}
			watch.away.Store(c.away)
			watches := partWatches{source: watch, transform: &busyWatch{name: "transform", part: "custom", epoch: watch.epoch}, sink: newBusyWatch("sink", "custom")}
			if c.transform {
				watches.transform.since.Store(1)
				watches.transform.end(ctx)
			}
			a := &attempt{
				base: base{config: &Config{Slice: time.Minute}, store: noFault{}}, watches: watches, run: &Run{Attempt: 1, MaxAttempts: 5},
				flow: NewFlow("f", badRecords{}, Identity[int](), Target[int]{}, nil),
			}
			a.slice.timer = time.NewTimer(time.Hour)
			defer a.slice.timer.Stop()
			p, kind := a.verdict(ctx, ctx.Err())
			require.Equal(t, EventRunRetrying, kind)
			require.Regexp(t, c.want, p.Error.Error)
		})
	}
}

// noFault is a store that knows no errors of a database.
type noFault struct{ Store }

func (noFault) Classify(error) Fault { return FaultOther }
