package connectortest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// leaks is how many calls are looked at for goroutines that stay. Pools of connections keep a few,
// whatever the number of calls; a leak keeps one for each.
const leaks = 10

// leakLabel marks the goroutines that a call starts, because a goroutine inherits the labels of
// the one that starts it.
const leakLabel = "connectortest"

// requireEnded calls f ten times, and requires that the goroutines which it starts end. They may take
// their time, up to patience.
func requireEnded(t *testing.T, patience time.Duration, what string, f func(ctx context.Context, i int)) {
	t.Helper()
	name := t.Name() + " " + what
	pprof.Do(t.Context(), pprof.Labels(leakLabel, name), func(ctx context.Context) {
		for i := range leaks {
			f(ctx, i)
		}
	})
	tired, look := time.NewTimer(patience), time.NewTicker(10*time.Millisecond)
	defer tired.Stop()
	defer look.Stop()
	for {
		left, stack := labelled(t, name)
		if left < leaks {
			return
		}
		select {
		case <-look.C:
		case <-tired.C:
			require.FailNow(t, "goroutines are left", "%d goroutines are still there after %d %s, such as\n%s", left, leaks, what, stack)
		}
	}
}

// labelled counts the goroutines with the label, and returns the stack of most of them.
func labelled(t *testing.T, name string) (n int, stack string) {
	t.Helper()
	var all bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&all, 1))
	label, most := fmt.Sprintf("%q:%q", leakLabel, name), 0
	_, groups, _ := strings.Cut(all.String(), "\n")
	for group := range strings.SplitSeq(groups, "\n\n") {
		// Each group is: how many @ addresses, a line of labels, the stack.
		if !strings.Contains(group, label) {
			continue
		}
		count, trace, _ := strings.Cut(group, " ")
		k, err := strconv.Atoi(count)
		require.NoError(t, err, "read the profile of goroutines: %s", group)
		if n += k; k > most {
			most, stack = k, trace[strings.Index(trace, "\n")+1:]
		}
	}
	return n, stack
}
