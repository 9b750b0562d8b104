package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// Two processes know different rules of a zone. These zones have the offsets of Vancouver in winter,
// by its law since 2026 and by the one before.
const (
	newRules = "America/Phoenix"  // -07
	oldRules = "Pacific/Pitcairn" // -08
)

func zonePlan(t *testing.T, cron, zone, more string) *schedule.Plan {
	t.Helper()
	return readPlan(t, fmt.Sprintf(`{"cron":%q,"time_zone":%q%s}`, cron, zone, more))
}

func stored(t *testing.T, when, local string) *schedule.Tick {
	t.Helper()
	return &schedule.Tick{At: at(t, when), Local: local}
}

func TestPlan_NextTick(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cron, zone, after string
		want, local       string
	}{
		"Fixed":        {"0 2 * * *", newRules, "2026-11-29 12:00", "2026-11-30 09:00", "2026-11-30 02:00:00"},
		"InGap":        {"30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", "2027-03-28 01:00", "2027-03-28 02:30:00"},
		"SeveralInGap": {"10,20 2 * * *", "Europe/Berlin", "2027-03-27 12:00", "2027-03-28 01:00", "2027-03-28 02:20:00"},
		"Hourly":       {"0 * * * *", newRules, "2026-11-29 12:00", "2026-11-29 13:00", ""},
		"Minutes":      {"*/10 2 * * *", newRules, "2026-11-29 12:00", "2026-11-30 09:00", "2026-11-30 02:00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, stored(t, c.want, c.local), zonePlan(t, c.cron, c.zone, "").NextTick(at(t, c.after), nil))
		})
	}
	require.Nil(t, readPlan(t, `{}`).NextTick(minute(0), nil))
	require.Equal(t, &schedule.Tick{At: minute(10)}, readPlan(t, `{"interval":600}`).NextTick(minute(0), nil))
}

// A tick of other rules is dealt with, and the next one is of another local day.
func TestPlan_OtherRules(t *testing.T) {
	t.Parallel()
	later := stored(t, "2026-11-30 10:00", "2026-11-30 02:00:00")   // of the old rules
	earlier := stored(t, "2026-11-30 09:00", "2026-11-30 02:00:00") // of the new rules
	for name, c := range map[string]struct {
		zone, more string
		due        *schedule.Tick
		now        string
		fire       []string
		late       []string // first, count, reason
		next       string
	}{
		"Later":        {newRules, "", later, "2026-11-30 10:00", []string{"30 10:00"}, nil, "2026-12-01 09:00"},
		"Earlier":      {oldRules, "", earlier, "2026-11-30 09:00", []string{"30 09:00"}, nil, "2026-12-01 10:00"},
		"EarlierLate":  {oldRules, "", earlier, "2026-11-30 10:30", []string{"30 09:00"}, nil, "2026-12-01 10:00"},
		"AfterDays":    {newRules, "", later, "2026-12-02 12:00", []string{"02 09:00"}, []string{"30 10:00 1 missed", "01 09:00 1 missed"}, "2026-12-03 09:00"},
		"All":          {newRules, `,"catch_up":"all"`, later, "2026-12-02 12:00", []string{"30 10:00", "01 09:00", "02 09:00"}, nil, "2026-12-03 09:00"},
		"AllMax":       {newRules, `,"catch_up":"all","catch_up_max":2`, later, "2026-12-02 12:00", []string{"01 09:00", "02 09:00"}, []string{"30 10:00 1 missed"}, "2026-12-03 09:00"},
		"None":         {newRules, `,"catch_up":"none"`, later, "2026-11-30 10:00", []string{"30 10:00"}, nil, "2026-12-01 09:00"},
		"NoneTooLate":  {newRules, `,"catch_up":"none"`, later, "2026-11-30 10:02", nil, []string{"30 10:00 1 missed"}, "2026-12-01 09:00"},
		"OutOfWindow":  {newRules, `,"catch_up_window":60`, later, "2026-11-30 10:02", nil, []string{"30 10:00 1 outside_window"}, "2026-12-01 09:00"},
		"BeforeItsDay": {newRules, "", later, "2026-11-30 09:59", nil, nil, "2026-12-01 09:00"},
		"Own":          {newRules, "", earlier, "2026-11-30 09:00", []string{"30 09:00"}, nil, "2026-12-01 09:00"},
		// The column is empty after the migration that adds it.
		"NoLocalTime": {newRules, "", stored(t, "2026-11-30 10:00", ""), "2026-11-30 10:00", []string{"30 10:00"}, nil, "2026-12-01 09:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := zonePlan(t, "0 2 * * *", c.zone, c.more)
			now := at(t, c.now)
			fire, late := p.DueFrom(c.due, now)
			var fired, skipped []string
			count := int64(len(fire))
			for _, at := range fire {
				fired = append(fired, at.Format("02 15:04"))
			}
			for _, s := range late {
				skipped = append(skipped, fmt.Sprintf("%s %d %s", s.First.Format("02 15:04"), s.Count, s.Reason))
				count += s.Count
			}
			require.Equal(t, c.fire, fired)
			require.Equal(t, c.late, skipped)
			require.Equal(t, count, p.SpanFrom(c.due, now, schedule.SkippedPaused).Count)
			require.Equal(t, at(t, c.next), p.NextTick(now, c.due).At)
		})
	}
}

// However processes with different rules take turns, each local day has one tick.
func TestPlan_TakingTurns(t *testing.T) {
	t.Parallel()
	for _, cron := range []string{"0 2 * * *", "30 23 * * *", "0 0 * * *", "15 12 * * 1-5"} {
		both := []*schedule.Plan{zonePlan(t, cron, oldRules, ""), zonePlan(t, cron, newRules, "")}
		for turns := range 16 { // of four days, repeated
			tick := both[turns%2].NextTick(at(t, "2026-11-01 12:00"), nil)
			days := map[string]bool{}
			for turn := range 24 {
				p := both[turns>>(turn%4)&1]
				fire, late := p.DueFrom(tick, tick.At)
				require.Equal(t, []time.Time{tick.At}, fire)
				require.Empty(t, late)
				require.False(t, days[tick.Local], "%s twice", tick.Local)
				days[tick.Local] = true
				next := p.NextTick(tick.At, tick)
				require.LessOrEqual(t, next.At.Sub(tick.At), 73*time.Hour, "no day is left out")
				tick = next
			}
			// The same number of local times as one process alone has.
			alone := both[0]
			require.EqualValues(t, 24, alone.Span(at(t, "2026-11-01 12:00"), tick.At.Add(-2*time.Hour), "").Count, "%s %b", cron, turns)
		}
	}
}

func TestPlan_Moved(t *testing.T) {
	t.Parallel()
	later := stored(t, "2026-11-30 10:00", "2026-11-30 02:00:00")
	earlier := stored(t, "2026-11-30 09:00", "2026-11-30 02:00:00")
	for name, c := range map[string]struct {
		cron, zone string
		stored     *schedule.Tick
		now        string
		want       *schedule.Tick
	}{
		"Earlier":     {"0 2 * * *", newRules, later, "2026-11-29 12:00", earlier},
		"Later":       {"0 2 * * *", oldRules, earlier, "2026-11-29 12:00", later},
		"Own":         {"0 2 * * *", newRules, earlier, "2026-11-29 12:00", nil},
		"HasPassed":   {"0 2 * * *", newRules, later, "2026-11-30 09:30", nil},
		"IsDue":       {"0 2 * * *", newRules, later, "2026-11-30 10:00", nil},
		"NoLocalTime": {"0 2 * * *", newRules, stored(t, "2026-11-30 10:00", ""), "2026-11-29 12:00", earlier},
		"Hourly":      {"0 * * * *", newRules, stored(t, "2026-11-30 10:00", ""), "2026-11-30 09:59", nil},
		"HalfHour":    {"0 * * * *", "Asia/Kolkata", stored(t, "2026-11-30 10:00", ""), "2026-11-30 09:10", stored(t, "2026-11-30 09:30", "")},
		// 02:30 is skipped by the rules that stored it, and not by these.
		"NoGapHere": {"30 2 * * *", "Africa/Lagos", stored(t, "2027-03-28 01:00", "2027-03-28 02:30:00"), "2027-03-27 12:00", stored(t, "2027-03-28 01:30", "2027-03-28 02:30:00")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, zonePlan(t, c.cron, c.zone, "").Moved(c.stored, at(t, c.now)))
		})
	}
	require.Nil(t, readPlan(t, `{}`).Moved(later, minute(0)))
}
