package dataflowotel

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// hurried notes how long it may take to tell its lag.
type hurried struct {
	*dataflowtest.Source[string]
	within chan time.Duration
}

func (s hurried) Lag(ctx context.Context, _ dataflow.Request[int]) (time.Duration, bool, error) {
	deadline, _ := ctx.Deadline()
	s.within <- time.Until(deadline)
	return 0, false, nil
}

// A collection ends although a database or a source does not answer: it holds up all other metrics of the process.
func TestReporter_Patience(t *testing.T) {
	t.Parallel()
	within := make(chan time.Duration, 2)
	nowhere := dataflow.ToTx(dataflow.TxSinkFunc[string](func(context.Context, []string) error { return nil }))
	flow := dataflow.NewFlow("orders", hurried{dataflowtest.NewSource("a"), within}, dataflow.Identity[string](), nowhere, nil)
	kit := dataflowtest.NewOn(t, dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	telemetry, err := New(&Options{GaugeAge: -1})
	require.NoError(t, err)
	r := &reporter{t: telemetry, client: kit.Client(), within: 2 * time.Second}
	require.NoError(t, r.collect(t.Context(), noop.Observer{}))
	require.LessOrEqual(t, <-within, r.within)

	r.within = 0
	require.ErrorIs(t, r.collect(t.Context(), noop.Observer{}), context.DeadlineExceeded)
	require.Empty(t, r.stats, "no old numbers")
}
