//go:build unix && chaos

package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

const (
	longEnv = "DATAFLOW_CHAOS"
	seedEnv = "DATAFLOW_CHAOS_SEED"
	logsEnv = "DATAFLOW_CHAOS_LOGS"

	// Tests mostly wait for leases to lapse, so more tests than processors can run at once.
	parallel = "12"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(workerEnv); text != "" {
		os.Exit(workerMain(context.Background(), text))
	}
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s=%d %s=%s\n", seedEnv, seed(), longEnv, os.Getenv(longEnv))
	os.Exit(dbtest.Main(m))
}

// seed determines the damage in all tests.
func seed() uint64 {
	text := os.Getenv(seedEnv)
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", seedEnv, err)
		os.Exit(1)
	}
	return n
}

// long reports whether this is the long form of the tests.
func long() bool { return os.Getenv(longEnv) == "long" }

// scaled returns the value of a setting for the short or the long form.
func scaled[T any](short, inLong T) T {
	if long() {
		return inLong
	}
	return short
}

// dice returns the random numbers that determine a test's damage.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	name := fnv.New64a()
	_, _ = name.Write([]byte(t.Name())) // It never fails.
	t.Logf("%s=%d", seedEnv, seed())
	return rand.New(rand.NewPCG(seed(), name.Sum64()))
}

// workDir returns the directory for the logs and the orders of a test's workers.
func workDir(t *testing.T) string {
	t.Helper()
	parent := os.Getenv(logsEnv)
	if parent == "" {
		return t.TempDir()
	}
	dir := filepath.Join(parent, strings.ReplaceAll(t.Name(), "/", "-"))
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// pause waits for d. It returns false if ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
