package cli_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A list that is cut off says so, on standard error, and how to see the rest.
func TestLists_CutOff(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		broken := true
		t.strict(&broken)
		for _, to := range []string{"1", "2", "3"} {
			t.ok("enqueue", "strict", "--wait")
			t.ok("cursor", "set", "strict", "--to", to, "--if-cursor", "5", "--yes")
		}
		for _, list := range [][]string{{"run", "list"}, {"dead-letter", "list"}, {"cursor", "history", "strict"}, {"audit"}} {
			cut := t.run(append(list, "--limit", "2")...)
			require.Zero(t, cut.code, cut.err)
			require.Regexp(t, `^These are the newest 2: --before \d+ shows older ones, if there are any\.\n$`, cut.err, list)
			whole := t.run(append(list, "--limit", "50")...)
			require.Zero(t, whole.code, whole.err)
			require.Empty(t, whole.err, list)
			require.Empty(t, t.run(append(list, "--limit", "2", "-o", "json")...).err, list)
		}
	})
}

// What is not there is an error and no empty list, and no list of everything.
func TestLists_NotThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("flow", "pause", "orders")
		for _, args := range [][]string{
			{"dead-letter", "list", "--run", "77"},
			{"dead-letter", "list", ""},
			{"audit", "--flow", ""},
			{"audit", "--flow", "missing"},
			{"run", "list", "--flow", ""},
		} {
			r := t.run(args...)
			require.Equal(t, 3, r.code, "%q: %s%s", args, r.out, r.err)
			require.Contains(t, r.err, "not found", args)
		}
	})
}

// A bound or a time that is empty, as of a variable that is not set, is not taken for one that is not given: everything
// would be read again, or at once.
func TestFlags_Empty(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		for _, args := range [][]string{
			{"backfill", "orders", "--from", "", "--until", "4"},
			{"backfill", "orders", "--until="},
			{"backfill", "orders", "--at", " "},
			{"enqueue", "orders", "--at", ""},
			{"backfill", "orders", "--params", ""},
			{"enqueue", "orders", "--params="},
			{"backfill", "orders", "--from", "2026-11-28", "--zone", ""},
			{"cursor", "set", "orders", "--to", "4", "--if-cursor", ""},
			{"cursor", "set", "orders", "--beginning", "--to", ""},
			{"preview", "orders", "--from", ""},
			{"run", "list", "--state", ""},
			{"run", "list", "--trigger", ""},
			{"flow", "list", "--state", ""},
			{"dead-letter", "list", "--state", ""},
			{"audit", "--actor", ""},
			{"schedule", "next", "--after", ""},
		} {
			require.Contains(t, t.fails(2, args...), "it is empty: give a value, or leave the flag out", strings.Join(args, " "))
		}
		require.Contains(t, t.ok("run", "list"), "There are no such runs.")
	})
}
