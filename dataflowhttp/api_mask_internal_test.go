package dataflowhttp

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/mask"
)

func TestAPI_SecretsInErrorsAndStacks(t *testing.T) {
	t.Parallel()
	a := &api{mask: mask.New(nil)}
	stored := &dataflow.Run{Errors: []dataflow.AttemptError{{Error: "password=hush", Stack: "main.dial(password=hush)\n\tmain.go:7 +0x1d"}}}
	shown := a.run(stored).Errors[0]
	require.Equal(t, "password=***", shown.Error)
	require.Equal(t, "main.dial(password=***)\n\tmain.go:7 +0x1d", shown.Stack)
	require.Contains(t, stored.Errors[0].Stack, "hush", "the run that was given is as it was")
}

// What is hidden in the audit log and in why is hidden wherever else the same text is shown.
func TestAPI_SecretsInReasons(t *testing.T) {
	t.Parallel()
	a := &api{mask: mask.New(nil)}
	const text = "token=hush"
	flow := &dataflow.Flow{}
	flow.StateReason, flow.TrippedReason, flow.LastError = text, text, text
	change := &dataflow.CursorChange{Reason: text}
	for name, shown := range map[string]any{
		"flow":        a.flow(flow),
		"run":         a.run(&dataflow.Run{Reason: text, CancelReason: text, WaitsFor: text, Error: text}),
		"cursor":      a.cursor(&dataflow.FlowCursor{Change: change}),
		"change":      a.change(change),
		"dead letter": a.deadLetter(&dataflow.DeadLetterRecord{Key: text, Error: text, Reason: text}),
		"audit":       a.audit(&dataflow.AuditEntry{Reason: text}),
		"backfill":    a.backfill(&dataflow.BackfillProgress{Reason: text}),
	} {
		data, err := json.Marshal(shown)
		require.NoError(t, err)
		require.NotContains(t, string(data), "hush", name)
		require.Contains(t, string(data), "token=***", name)
	}
}
