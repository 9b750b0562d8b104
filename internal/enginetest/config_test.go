package enginetest_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// noDatabase is a driver for what must not touch the database.
type noDatabase struct{}

func (noDatabase) Store(dataflow.StoreOptions) (dataflow.Store, error) { return nil, nil }

// onceNumbers is a source without a cursor.
type onceNumbers struct{ n int }

func (s onceNumbers) Read(context.Context, dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[int, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[int, dataflow.NoCursor], error) bool) {
		for i := 1; i <= s.n && yield(dataflow.Item[int, dataflow.NoCursor]{Value: i}, nil); i++ {
		}
	}
}

// discard is a sink that does nothing.
type discard struct{ appendOnly bool }

func (discard) WriteTx(context.Context, []int) error                 { return nil }
func (discard) Write(context.Context, dataflow.SinkBatch[int]) error { return nil }
func (d discard) AppendOnly() bool                                   { return d.appendOnly }

// River accepts each queue name that NewClient accepts.
func TestNewClient_QueuesSuitRiver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var flows []*dataflow.Flow
		for _, queue := range []string{"etl-2_b", "0", "a-b", strings.Repeat("q", 64)} {
			flows = append(flows, dataflow.NewFlow(queue, numbers{n: 1}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: queue}}))
		}
		client := t.registered(flows...)
		for _, flow := range flows {
			_, err := t.execute(client, flow.Name)
			require.NoError(t, err)
		}
	})
}
