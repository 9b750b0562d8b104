package sqltable

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A clock shows a time twice if it is put back, by an hour or by less, and never if it is put forward.
func TestCheckRepeated(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from, to string // the first time that is shown twice, and the first one after the second showing, in UTC
	}{
		"Europe/Berlin":       {"2024-10-27T00:00:00Z", "2024-10-27T02:00:00Z"},
		"America/New_York":    {"2024-11-03T05:00:00Z", "2024-11-03T07:00:00Z"},
		"Australia/Lord_Howe": {"2024-04-06T14:30:00Z", "2024-04-06T15:30:00Z"},
	} {
		loc, err := time.LoadLocation(name)
		require.NoError(t, err)
		from, err := time.Parse(time.RFC3339, tc.from)
		require.NoError(t, err)
		to, err := time.Parse(time.RFC3339, tc.to)
		require.NoError(t, err)
		for at := from.AddDate(0, 0, -2); at.Before(to.AddDate(0, 0, 2)); at = at.Add(10 * time.Minute) {
			require.Equal(t, !at.Before(from) && at.Before(to), checkRepeated(at.In(loc)) != nil, "%s %s", name, at)
		}
		for at := from.AddDate(0, -10, 0); at.Before(from.AddDate(0, 0, -1)); at = at.Add(time.Hour) {
			require.NoError(t, checkRepeated(at.In(loc)), "%s %s", name, at)
		}
		require.NoError(t, checkRepeated(from))
		require.NoError(t, checkRepeated(from.In(time.FixedZone("", 7200))))
	}
}
