package dataflowpgx_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Calls of TriggerMany at once, with many flows in common, all succeed, while claims free the keys of the runs that wait.
func TestTriggerMany_Together(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	flows := make([]*dataflow.Flow, 40)
	for i := range flows {
		flows[i] = dataflow.NewFlow(fmt.Sprintf("flow %d", i), emptySource{}, dataflow.Identity[int64](),
			dataflow.ToTx(dataflow.TxSinkFunc[int64](func(context.Context, []int64) error { return nil })), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	}
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: flows, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = pool.Exec(ctx, "update dataflow_run set unique_key = id where unique_key = 'now'")
		}
	})
	var callers sync.WaitGroup
	errs := make([]error, 3)
	until := time.Now().Add(2 * time.Second)
	for i := range errs {
		callers.Go(func() {
			for errs[i] == nil && time.Now().Before(until) {
				var params []dataflow.TriggerManyParams
				for _, f := range rand.Perm(len(flows))[:20] {
					params = append(params, dataflow.TriggerManyParams{Flow: flows[f].Name})
				}
				_, errs[i] = client.TriggerMany(ctx, params)
			}
		})
	}
	callers.Wait()
	cancel()
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}
