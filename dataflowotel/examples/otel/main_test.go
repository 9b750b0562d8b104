package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example prints the spans of its run, linked to whoever asked for it, and the metrics.
func TestOtel(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "otel")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)
	command := exec.CommandContext(t.Context(), program)
	command.Dir, command.Stderr = t.TempDir(), os.Stderr
	out, err := command.Output()
	require.NoError(t, err)
	for _, name := range []string{"POST /birds", "run birds", "batch", "read", "transform", "write", "checkpoint", "dataflow.run.ended", "dataflow.checkpoint.duration", "dataflow.flow.lag"} {
		require.Contains(t, string(out), `"Name": "`+name+`"`)
	}
	require.Contains(t, string(out), "run 1: success, 3 read, 3 written")
}
