package enginetest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A log line names a transform or a sink that goes on long after its run was told to
// end.
func TestLoop_CodeIgnoresContext(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"transform", "sink"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			pg := migratedPostgres(t)
			l := newLogs()
			reached, open := make(chan struct{}), make(chan struct{})
			block := func() {
				close(reached)
				<-open
			}
			transform, sink := dataflow.Identity[int](), dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil })
			if part == "transform" {
				transform = dataflow.Map(func(_ context.Context, n int) (int, error) { block(); return n, nil })
			} else {
				sink = func(context.Context, dataflow.SinkBatch[int]) error { block(); return nil }
			}
			flow := dataflow.NewFlow("deaf", numbers{n: 1}, transform, dataflow.To(sink), nil)
			client := pg.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: l.logger()})
			require.NoError(t, client.Register(t.Context()))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { _, err := client.Trigger(ctx, "deaf", nil); ended <- err }()
			receive(pg, reached)
			cancel()
			require.Eventually(t, func() bool { return len(l.lines("the "+part+" ignores its context")) > 0 }, patience, patience/10_000)
			line := strings.Join(l.lines("ignores its context"), "")
			require.Contains(t, line, "flow=deaf run=1")
			require.Regexp(t, map[string]string{"transform": `type=\S+transformFunc`, "sink": "type=custom"}[part], line)
			close(open)
			require.ErrorIs(t, receive(pg, ended), dataflow.ErrStopped)
		})
	}
}
