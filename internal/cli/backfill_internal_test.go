package cli

import (
	"encoding/json"
	"testing"
	"time"

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
	require.EqualError(t, inFlags(err), `backfill flow "appends": --append: the flow's sink appends, or keeps each batch, so it would have records twice: give --append to allow that, or use a target that upserts`)
	_, err = client.Backfill(t.Context(), "appends", &dataflow.BackfillParams{From: json.RawMessage(`a`)})
	require.ErrorContains(t, inFlags(err), `backfill flow "appends": --from: a is not JSON`)
	require.ErrorContains(t, inFlags(err), "\n--append: the flow's sink appends")
}

// A day begins when the clocks first show it, also where they are changed at midnight.
func TestPlaceOrTime_ClocksChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, day, begin, end string }{
		{"UTC", "2026-12-31", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"America/Santiago", "2026-09-05", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"}, // there is no midnight after it
		{"America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"America/Santiago", "2026-04-04", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"}, // its last hour comes twice
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},   // its first hour comes twice
		{"Asia/Amman", "2021-10-29", "2021-10-28T21:00:00Z", "2021-10-29T22:00:00Z"},       // so it does here, east of UTC
		{"Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"}, // nobody had that day
		{"Pacific/Kiritimati", "2024-12-31", "2024-12-30T10:00:00Z", "2024-12-31T10:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		require.NoError(t, err)
		for days, want := range []string{c.begin, c.end} {
			_, at, err := placeOrTime("--from", c.day, zone, days)
			require.NoError(t, err)
			require.Equal(t, want, at.UTC().Format(time.RFC3339), "%s in %s", c.day, c.zone)
		}
	}
}

// What is no place is refused with what would be one.
func TestPlaces_Refused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"2026-11", "2026/11/28", "28.11.2026", "2026-02-30", "11/28/2026"} {
		for _, l := range []places{{from: text}, {until: text}} {
			_, err := l.into(&dataflow.BackfillParams{})
			require.ErrorContains(t, err, `"`+text+`" is neither a date, such as 2026-11-28, nor a time`)
		}
	}
	_, err := (&places{until: "null"}).into(&dataflow.BackfillParams{})
	require.EqualError(t, err, "--until null is no place: leave --until out to read to the end")
	_, err = (&places{from: "null"}).into(&dataflow.BackfillParams{}) // so a run begins that has no cursor
	require.NoError(t, err)
}
