package schedule_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// minute is a time after 04:00, so that ticks of every ten minutes are minute(0), minute(10) ….
func minute(m int) time.Time { return time.Date(2027, 5, 1, 4, m, 0, 0, time.UTC) }

// spanText is a span as "10-30 3 missed".
func spanText(s schedule.Span) string {
	return fmt.Sprintf("%d-%d %d %s", s.First.Minute(), s.Last.Minute(), s.Count, s.Reason)
}

// What becomes of the ticks of every ten minutes when nobody looks for a while.
func TestPlan_Due(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plan      string // without the interval
		from, now time.Time
		fire      []int
		late      []string
	}{
		"OnTime":       {"", minute(10), minute(10), []int{10}, nil},
		"TooSoon":      {"", minute(10), minute(10).Add(-time.Millisecond), nil, nil},
		"NoneBetween":  {"", minute(11), minute(19), nil, nil},
		"OneLate":      {"", minute(10), minute(19), []int{10}, nil},
		"Latest":       {"", minute(10), minute(42), []int{40}, []string{"10-30 3 missed"}},
		"LatestNamed":  {`"catch_up":"latest"`, minute(10), minute(42), []int{40}, []string{"10-30 3 missed"}},
		"None":         {`"catch_up":"none"`, minute(10), minute(42), nil, []string{"10-40 4 missed"}},
		"NoneOnTime":   {`"catch_up":"none"`, minute(10), minute(41), []int{40}, []string{"10-30 3 missed"}},
		"NoneTooLate":  {`"catch_up":"none"`, minute(10), minute(41).Add(time.Millisecond), nil, []string{"10-40 4 missed"}},
		"NoneFromNow":  {`"catch_up":"none"`, minute(40), minute(40), []int{40}, nil},
		"Window":       {`"catch_up_window":900`, minute(10), minute(42), []int{40}, []string{"10-20 2 outside_window", "30-30 1 missed"}},
		"WindowEdge":   {`"catch_up_window":720`, minute(10), minute(42), []int{40}, []string{"10-20 2 outside_window", "30-30 1 missed"}},
		"WindowShort":  {`"catch_up_window":60`, minute(10), minute(42), nil, []string{"10-40 4 outside_window"}},
		"WindowWide":   {`"catch_up_window":86400`, minute(10), minute(42), []int{40}, []string{"10-30 3 missed"}},
		"All":          {`"catch_up":"all"`, minute(10), minute(42), []int{10, 20, 30, 40}, nil},
		"AllOfOne":     {`"catch_up":"all"`, minute(10), minute(12), []int{10}, nil},
		"AllMax":       {`"catch_up":"all","catch_up_max":2`, minute(10), minute(42), []int{30, 40}, []string{"10-20 2 missed"}},
		"AllMaxExact":  {`"catch_up":"all","catch_up_max":4`, minute(10), minute(42), []int{10, 20, 30, 40}, nil},
		"AllWindow":    {`"catch_up":"all","catch_up_window":1320`, minute(10), minute(42), []int{20, 30, 40}, []string{"10-10 1 outside_window"}},
		"AllWindowMax": {`"catch_up":"all","catch_up_window":1320,"catch_up_max":1`, minute(10), minute(42), []int{40}, []string{"10-10 1 outside_window", "20-30 2 missed"}},
		"Ended":        {`"end":"2027-05-01T04:25:00Z"`, minute(10), minute(42), []int{20}, []string{"10-10 1 missed"}},
		"EndedBefore":  {`"end":"2027-05-01T04:05:00Z"`, minute(10), minute(42), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := `{"interval":600`
			if c.plan != "" {
				settings += "," + c.plan
			}
			fire, late := readPlan(t, settings+"}").Due(c.from, c.now)
			var minutes []int
			for _, at := range fire {
				require.Equal(t, minute(at.Minute()), at)
				minutes = append(minutes, at.Minute())
			}
			require.Equal(t, c.fire, minutes)
			var spans []string
			for _, s := range late {
				spans = append(spans, spanText(s))
			}
			require.Equal(t, c.late, spans)
		})
	}
}

// Every tick of a gap is either fired or in one span, whichever the policy, also where there are
// more than the 100 that CatchUpAll makes up for unless it says otherwise.
func TestPlan_Due_AllAccountedFor(t *testing.T) {
	t.Parallel()
	for _, gap := range []time.Duration{0, time.Minute, 99 * time.Minute, 100 * time.Minute, 101 * time.Minute, 26 * time.Hour} {
		for _, settings := range []string{
			`{"interval":60}`,
			`{"interval":60,"catch_up":"none"}`,
			`{"interval":60,"catch_up":"all"}`,
			`{"interval":60,"catch_up":"all","catch_up_window":7200}`,
			`{"cron":"*/2 * * * *","time_zone":"Europe/Berlin","catch_up":"all"}`,
		} {
			p := readPlan(t, settings)
			from, now := minute(0), minute(0).Add(gap)
			fire, late := p.Due(from, now)
			require.LessOrEqual(t, len(fire), 100)
			count := int64(len(fire))
			next := p.Next(from.Add(-1))
			for _, s := range late {
				require.Equal(t, *next, s.First, settings)
				require.Equal(t, p.Span(s.First, s.Last, s.Reason), s)
				count, next = count+s.Count, p.Next(s.Last)
			}
			for _, at := range fire {
				require.Equal(t, *next, at, settings)
				next = p.Next(at)
			}
			require.True(t, next.After(now))
			require.Equal(t, p.Span(from, now, "").Count, count, "%s, %s", settings, gap)
		}
	}
}

func TestPlan_Next(t *testing.T) {
	t.Parallel()
	p := readPlan(t, `{"interval":600,"end":"2027-05-01T04:25:00Z"}`)
	require.Equal(t, minute(20), *p.Next(minute(10)))
	require.Nil(t, p.Next(minute(20)))
	require.True(t, p.HasTicks())
}

// A flow that runs only when it is called.
func TestPlan_NoTicks(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{`{}`, `{"overlap":"buffer_one"}`, `{"disabled":true}`} {
		p := readPlan(t, stored)
		require.False(t, p.HasTicks())
		require.Nil(t, p.Next(minute(0)))
		require.Zero(t, p.Span(minute(0), minute(59), "").Count)
		fire, late := p.Due(minute(0), minute(59))
		require.Empty(t, fire)
		require.Empty(t, late)
	}
}

func TestPlan_Stagger(t *testing.T) {
	t.Parallel()
	stored := json.RawMessage(`{"interval":600,"stagger":60}`)
	for _, flow := range []string{"orders", "invoices"} {
		p, err := schedule.ReadPlan(stored, flow)
		require.NoError(t, err)
		require.Equal(t, minute(10).Add(schedule.Stagger(flow, time.Minute)), *p.Next(minute(10).Add(-1)))
	}
}

func TestPlan_Span(t *testing.T) {
	t.Parallel()
	p := readPlan(t, `{"interval":600}`)
	require.Equal(t, "10-30 3 paused", spanText(p.Span(minute(10), minute(30), schedule.SkippedPaused)))
	require.Equal(t, "20-20 1 paused", spanText(p.Span(minute(11), minute(29), schedule.SkippedPaused)))
	require.Equal(t, schedule.Span{Reason: "paused"}, p.Span(minute(11), minute(19), schedule.SkippedPaused))
}

func TestPlan_Idle(t *testing.T) {
	t.Parallel()
	at := minute(0)
	for _, c := range []struct {
		stored    string
		active    bool
		trippedAt *time.Time
		reason    string
	}{
		{`{"interval":60}`, true, nil, ""},
		{`{"interval":60}`, false, nil, "paused"},
		{`{"interval":60,"disabled":true}`, true, nil, "disabled"},
		{`{"interval":60,"disabled":true}`, false, nil, "paused"},
		{`{"interval":60,"pause_after":3}`, true, nil, ""},
		{`{"interval":60,"pause_after":3}`, true, &at, "paused"},
		{`{"interval":60}`, true, &at, ""}, // the code no longer wants a pause
	} {
		reason, idle := readPlan(t, c.stored).Idle(c.active, c.trippedAt)
		require.Equal(t, c.reason, reason, "%+v", c)
		require.Equal(t, c.reason != "", idle)
	}
}

func TestPlan_Probes(t *testing.T) {
	t.Parallel()
	at := minute(0)
	const pauses = `{"interval":60,"pause_after":3}`
	for _, c := range []struct {
		stored    string
		active    bool
		trippedAt *time.Time
		load      schedule.Load
		want      bool
	}{
		{pauses, true, &at, schedule.Load{}, true},
		{pauses, true, &at, schedule.Load{InProgress: 2, Waiting: 1, Backfills: 3}, true},
		{pauses, true, &at, schedule.Load{InProgress: 1}, false},
		{pauses, true, &at, schedule.Load{Waiting: 1}, false},
		{pauses, true, nil, schedule.Load{}, false},
		{pauses, false, &at, schedule.Load{}, false},
		{`{"interval":60}`, true, &at, schedule.Load{}, false},
		{`{"interval":60,"pause_after":3,"disabled":true}`, true, &at, schedule.Load{}, false},
	} {
		want := c.load
		if c.want {
			want.Waiting++
		}
		require.Equal(t, c.want, readPlan(t, c.stored).Probes(c.active, c.trippedAt, &c.load), "%+v", c)
		require.Equal(t, want, c.load)
	}
}

func TestPlan_ProbeAt(t *testing.T) {
	t.Parallel()
	for stored, wait := range map[string]time.Duration{
		`{"interval":60}`:                                     0,
		`{"interval":60,"probe_after":60}`:                    0,
		`{"interval":60,"pause_after":3}`:                     time.Hour,
		`{"interval":60,"pause_after":3,"probe_after":90.5}`:  90*time.Second + 500*time.Millisecond,
		`{"interval":60,"pause_after":3,"probe_after":-1}`:    0,
		`{"pause_after":1,"probe_after":1}`:                   time.Second,
		`{"interval":60,"pause_after":3,"probe_after":86400}`: 24 * time.Hour,
	} {
		got := readPlan(t, stored).ProbeAt(minute(0))
		if wait == 0 {
			require.Nil(t, got, stored)
			continue
		}
		require.Equal(t, minute(0).Add(wait), *got, stored)
	}
}

func TestPlan_Reprobe(t *testing.T) {
	t.Parallel()
	p := readPlan(t, `{"interval":60,"pause_after":3,"probe_after":600}`)
	sooner, later := minute(5), minute(30)
	require.Equal(t, minute(5), *p.Reprobe(&sooner, minute(0)))
	require.Equal(t, minute(10), *p.Reprobe(&later, minute(0)))
	require.Equal(t, minute(10), *p.Reprobe(nil, minute(0)))
	never := readPlan(t, `{"interval":60,"pause_after":3,"probe_after":-1}`)
	require.Nil(t, never.Reprobe(&sooner, minute(0)))
}

func TestReadPlan_Refuses(t *testing.T) {
	t.Parallel()
	for stored, field := range map[string]string{
		`{"interval":0.5}`:                          "Interval",
		`{"cron":"* * *"}`:                          "Cron",
		`{"interval":60,"cron":"@daily"}`:           "Cron",
		`{"cron":"@daily","time_zone":"Mars/Base"}`: "TimeZone",
		`{"interval":60,"stagger":61}`:              "Stagger",
		`{"cron":"@daily","stagger":-1}`:            "Stagger",
	} {
		p, err := schedule.ReadPlan(json.RawMessage(stored), "orders")
		require.Nil(t, p)
		var fault *schedule.FieldError
		require.ErrorAs(t, err, &fault, stored)
		require.Equal(t, field, fault.Field, stored)
	}
	for _, stored := range []string{``, `[]`, `{"interval":"a minute"}`, `{"overlap":1}`} {
		_, err := schedule.ReadPlan(json.RawMessage(stored), "orders")
		require.Error(t, err, stored)
	}
	_, err := schedule.ReadPlan(json.RawMessage(`{"interval":60,"of a later version":1}`), "orders")
	require.NoError(t, err, "another version of the library may have stored more")
}
