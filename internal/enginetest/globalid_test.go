package enginetest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// TestPlan_3_GlobalIDs: a flow is found by its global id. The error of an id that is
// malformed, foreign, or of a removed flow says which.
func TestPlan_3_GlobalIDs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		declared := dataflow.NewFlow("orders", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		require.Empty(t, declared.GlobalID())
		client := t.registered(declared)
		flow, err := client.Flow(t.Context(), "orders")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("gid://dataflow/Flow/%d", flow.ID), flow.GlobalID())
		found, err := t.client(nil).Locate(t.Context(), flow.GlobalID())
		require.NoError(t, err)
		require.Equal(t, flow.FlowRecord, found.FlowRecord)

		for gid, c := range map[string]struct {
			is  error
			why string
		}{
			fmt.Sprintf("gid://dataflow/Flow/%d", flow.ID+1): {dataflow.ErrNotFound, "gid://dataflow/Flow/"},
			fmt.Sprintf("gid://dataflow/Run/%d", flow.ID):    {dataflow.ErrGlobalID, "but of a Run"},
			fmt.Sprintf("gid://shop/Flow/%d", flow.ID):       {dataflow.ErrGlobalID, `but of the application "shop"`},
			"orders": {dataflow.ErrGlobalID, "does not begin with"},
		} {
			_, err := client.Locate(t.Context(), gid)
			require.ErrorIs(t, err, c.is, gid)
			require.ErrorContains(t, err, c.why)
			requirePublic(t, err)
		}
	})
}
