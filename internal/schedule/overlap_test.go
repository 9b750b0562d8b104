package schedule_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// The names are stored in databases.
func TestPolicyOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]schedule.Policy{
		"":             {Slots: 1},
		"skip":         {Slots: 1},
		"buffer_one":   {Slots: 1, Buffer: 1},
		"buffer_all":   {Slots: 1, Buffer: 1000},
		"cancel_other": {Slots: 1, Cancels: true},
		"allow_1":      {Slots: 1},
		"allow_3":      {Slots: 3},
		"allow_1000":   {Slots: 1000},
		"allow_0":      {},
		"allow_-1":     {},
		"allow_1001":   {},
		"allow_03":     {},
		"allow_+3":     {},
		"allow_":       {},
		"Skip":         {},
		"3":            {},
	} {
		require.Equal(t, want, schedule.PolicyOf(name), name)
	}
	require.Equal(t, "allow_3", schedule.Allow(3))
}

// What each policy does with a tick.
func TestPlan_Admits(t *testing.T) {
	t.Parallel()
	type load = schedule.Load
	for overlap, loads := range map[string]map[load]bool{
		"skip": {
			{}:                            true,
			{InProgress: 1}:               false,
			{Waiting: 1}:                  false, // the next attempt of a run, or a run that somebody asked for
			{Waiting: 1, WaitingTicks: 1}: false,
			{InProgress: 1, Backfills: 1}: true, // a backfill is none of its own runs
			{InProgress: 2, Waiting: 3}:   false,
			{InProgress: 1, Waiting: 1, Backfills: 2}: true,
			{InProgress: 1, Waiting: 1, Backfills: 1}: false,
		},
		"buffer_one": {
			{}:                          true,
			{InProgress: 1}:             true,
			{InProgress: 1, Waiting: 1}: true, // that is no tick
			{InProgress: 1, Waiting: 1, WaitingTicks: 1}: false,
			{Waiting: 1, WaitingTicks: 1}:                false,
		},
		"buffer_all": {
			{}: true,
			{InProgress: 1, Waiting: 999, WaitingTicks: 999}:   true,
			{InProgress: 1, Waiting: 1000, WaitingTicks: 1000}: false,
			{InProgress: 1, Waiting: 1001, WaitingTicks: 999}:  true,
			{InProgress: 0, Waiting: 1000, WaitingTicks: 1000}: false,
			{InProgress: 5, Waiting: 0, Backfills: 5}:          true,
			{InProgress: 1, Waiting: 2000, WaitingTicks: 2000}: false,
		},
		"cancel_other": {
			{}: true,
			{InProgress: 1, Waiting: 2000, WaitingTicks: 2000}: true,
		},
		"allow_2": {
			{}:                            true,
			{InProgress: 1}:               true,
			{InProgress: 1, Waiting: 1}:   false,
			{InProgress: 2}:               false,
			{InProgress: 3, Backfills: 2}: true,
			{Waiting: 2, WaitingTicks: 2}: false,
		},
		"of another version": {{}: false},
	} {
		for l, want := range loads {
			p := readPlan(t, fmt.Sprintf(`{"interval":60,"overlap":%q}`, overlap))
			after := l
			require.Equal(t, want, p.Admits(&after), "%s %+v", overlap, l)
			if want {
				l.Waiting++
				l.WaitingTicks++
			}
			require.Equal(t, l, after, "%s: an admitted tick counts", overlap)
		}
	}
}

func TestPlan_Cancels(t *testing.T) {
	t.Parallel()
	require.True(t, readPlan(t, `{"interval":60,"overlap":"cancel_other"}`).Cancels())
	require.False(t, readPlan(t, `{"interval":60}`).Cancels())
}

func readPlan(t *testing.T, stored string) *schedule.Plan {
	t.Helper()
	p, err := schedule.ReadPlan(json.RawMessage(stored), "orders")
	require.NoError(t, err)
	return p
}
