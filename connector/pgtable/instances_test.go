package pgtable_test

import (
	"os"
	osexec "os/exec" // these tests have their own function exec
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The compiler makes the code of a flow anew for each type of its records. So only little
// code may know these types, or programs with many flows take long to build.
func TestInstances(t *testing.T) {
	t.Parallel()
	oneCount, oneBytes := instances(t, 1)
	twoCount, twoBytes := instances(t, 2)
	count, bytes := twoCount-oneCount, twoBytes-oneBytes
	t.Logf("a type more: %d functions, %d bytes", count, bytes)
	require.Less(t, count, 230, "functions")
	require.Less(t, bytes, 48_000, "bytes of code")
}

// instances returns how many functions, and how much code, a package has that declares flows
// of n types.
func instances(t *testing.T, n int) (count, bytes int) {
	t.Helper()
	dir, err := os.MkdirTemp(".", "instances-") //nolint:usetesting // it must be in this module
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var source strings.Builder
	source.WriteString("package instances\n\nimport (\n\t\"github.com/activedataflow/dataflow\"\n\t\"github.com/activedataflow/dataflow/connector/pgtable\"\n)\n\nvar Flows = []*dataflow.Flow{\n")
	for i := range n {
		r := "R" + strconv.Itoa(i)
		source.WriteString("dataflow.NewFlow(\"f\", pgtable.Keyset[" + r + "](nil, pgtable.Query{}), dataflow.Identity[" + r + "](), pgtable.Upsert[" + r + "](\"t\"), nil),\n")
	}
	source.WriteString("}\n\n")
	for i := range n {
		source.WriteString("type R" + strconv.Itoa(i) + " struct { ID int64; Name string; F" + strconv.Itoa(i) + " *string }\n")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "flows.go"), []byte(source.String()), 0o600))
	archive := output(t, "go", "list", "-export", "-f", "{{.Export}}", "./"+dir)
	for line := range strings.Lines(output(t, "go", "tool", "nm", "-size", strings.TrimSpace(archive))) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.ToUpper(fields[2]) != "T" {
			continue
		}
		size, err := strconv.Atoi(fields[1])
		require.NoError(t, err)
		count++
		bytes += size
	}
	require.Positive(t, count)
	return count, bytes
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	return string(out)
}
