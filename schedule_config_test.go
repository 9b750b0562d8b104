package dataflow_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/activedataflow/dataflow"
)

func TestNewClient_Schedules(t *testing.T) {
	t.Parallel()
	at := `Flows["f"].Runtime.`
	for name, c := range map[string]struct {
		interval time.Duration
		schedule dataflow.Schedule
		want     map[string]string
	}{
		"Both":          {time.Hour, dataflow.Schedule{Cron: "@daily"}, map[string]string{"Schedule.Cron": `"@daily" is set beside an Interval of 1h0m0s`}},
		"Short":         {time.Millisecond, dataflow.Schedule{}, map[string]string{"Interval": "1ms"}},
		"Odd":           {time.Second + 1, dataflow.Schedule{}, map[string]string{"Interval": "millisecond"}},
		"BadCron":       {0, dataflow.Schedule{Cron: "* * *"}, map[string]string{"Schedule.Cron": "5"}},
		"Every":         {0, dataflow.Schedule{Cron: "@every 5m"}, map[string]string{"Schedule.Cron": "Interval"}},
		"Never":         {0, dataflow.Schedule{Cron: "0 0 30 2 *"}, map[string]string{"Schedule.Cron": "never"}},
		"Zone":          {0, dataflow.Schedule{Cron: "@daily", TimeZone: "Mars/Base"}, map[string]string{"Schedule.TimeZone": "Mars/Base"}},
		"ZoneOfNothing": {time.Hour, dataflow.Schedule{TimeZone: "Europe/Berlin"}, map[string]string{"Schedule.TimeZone": "Cron"}},
		"EndFirst":      {time.Hour, dataflow.Schedule{Start: minute(10), End: minute(5)}, map[string]string{"Schedule.End": "before"}},
		"Stagger":       {time.Hour, dataflow.Schedule{Stagger: 2 * time.Hour}, map[string]string{"Schedule.Stagger": "2h0m0s"}},
		"Shifted":       {0, dataflow.Schedule{Cron: "0 4 * * *", Start: minute(0), End: minute(5), Stagger: 24 * time.Hour}, map[string]string{"Schedule.Stagger": "shifts the ticks of this flow by 1"}},
		"NoTicks": {0, dataflow.Schedule{CatchUp: dataflow.CatchUpNone, Start: minute(1), Stagger: time.Second}, map[string]string{
			"Schedule.CatchUp": "no ticks", "Schedule.Start": "no ticks", "Schedule.Stagger": "no ticks",
		}},
		"Overlap":     {time.Hour, dataflow.Schedule{Overlap: "never"}, map[string]string{"Schedule.Overlap": `"never" is not a policy: use OverlapSkip`}},
		"AllowNone":   {time.Hour, dataflow.Schedule{Overlap: dataflow.OverlapAllow(0)}, map[string]string{"Schedule.Overlap": `"allow_0" is not a policy`}},
		"AllowCursor": {time.Hour, dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}, map[string]string{"Schedule.Overlap": "one cursor"}},
		"CatchUp":     {time.Hour, dataflow.Schedule{CatchUp: "some"}, map[string]string{"Schedule.CatchUp": `"some" is not a policy`}},
		"AllOfSkip":   {time.Hour, dataflow.Schedule{CatchUp: dataflow.CatchUpAll}, map[string]string{"Schedule.CatchUp": `that Overlap "skip" then skips: use OverlapBufferAll`}},
		"MaxOfLatest": {time.Hour, dataflow.Schedule{CatchUpMax: 3}, map[string]string{"Schedule.CatchUpMax": "only CatchUpAll"}},
		"WindowNone":  {time.Hour, dataflow.Schedule{CatchUp: dataflow.CatchUpNone, CatchUpWindow: time.Hour}, map[string]string{"Schedule.CatchUpWindow": "leave one"}},
		"WindowShort": {time.Hour, dataflow.Schedule{CatchUpWindow: time.Second}, map[string]string{"Schedule.CatchUpWindow": "1s is less than"}},
		"PauseAfter":  {time.Hour, dataflow.Schedule{PauseAfter: -1}, map[string]string{"Schedule.PauseAfter": "negative"}},
		"ProbeAfter":  {time.Hour, dataflow.Schedule{ProbeAfter: time.Hour}, map[string]string{"Schedule.ProbeAfter": "set PauseAfter too"}},
		"Probe":       {time.Hour, dataflow.Schedule{PauseAfter: 1, ProbeAfter: -2}, map[string]string{"Schedule.ProbeAfter": "negative"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := make(map[string]string)
			for field, reason := range c.want {
				want[at+field] = reason
			}
			flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: c.interval, Schedule: c.schedule}})
			_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			requireFaults(t, err, want)
		})
	}
}
