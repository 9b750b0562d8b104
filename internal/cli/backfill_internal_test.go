package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// The library's advice about its fields becomes one about the command's flags.
func TestBackfill_InFlags(t *testing.T) {
	t.Parallel()
	type row struct{ N int64 }
	s := newSession(t)
	flow := dataflow.NewFlow("appends", memory.Slice([]row{{1}}), dataflow.Identity[row](), sqltable.Insert[row]("rows"), nil)
	client, err := dataflow.NewClient(s.db.driver(), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: s.logger(false)})
	require.NoError(t, err)
	require.NoError(t, client.Register(t.Context()))
	_, err = client.Backfill(t.Context(), "appends", nil)
	require.EqualError(t, inFlags(err), `backfill flow "appends": --append: the flow's sink only appends, so it would have records twice: give --append to allow that, or use a target that upserts`)
}
