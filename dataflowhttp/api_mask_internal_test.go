package dataflowhttp

import (
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
