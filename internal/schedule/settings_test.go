package schedule_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// What is stored of a schedule must stay readable, so its JSON is a contract.
func TestStored_JSON(t *testing.T) {
	t.Parallel()
	start, end := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 5, 1, 0, 0, 0, 0, time.UTC)
	for text, s := range map[string]schedule.Stored{
		`{}`: {},
		`{"interval":90,"start":"2027-05-01T00:00:00Z","end":"2028-05-01T00:00:00Z","stagger":0.5,"overlap":"buffer_all","catch_up":"all","catch_up_window":3600,"catch_up_max":7,` +
			`"pause_after":3,"probe_after":-1,"run_at_registration":true,"disabled":true}`: {
			Settings: schedule.Settings{
				Interval: seconds(90), Start: &start, End: &end, Stagger: seconds(0.5), Overlap: schedule.BufferAll, CatchUp: schedule.CatchUpAll, CatchUpWindow: seconds(3600), CatchUpMax: 7,
				PauseAfter: 3, ProbeAfter: schedule.NoProbe, RunAtRegistration: true,
			},
			Disabled: true,
		},
		`{"cron":"@daily","time_zone":"Europe/Berlin"}`: {Settings: schedule.Settings{Cron: "@daily", TimeZone: "Europe/Berlin"}},
	} {
		data, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, text, string(data))
		var back schedule.Stored
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, s, back)
	}
}

func seconds(s float64) schedule.Seconds { return schedule.Seconds(s * float64(time.Second)) }

// Other settings than those of the timing do not move the next tick.
func TestTiming(t *testing.T) {
	t.Parallel()
	timing := func(text string) (string, bool) {
		ticks, disabled, err := schedule.Timing(json.RawMessage(text))
		require.NoError(t, err)
		return ticks, disabled
	}
	plain, disabled := timing(`{"interval":60}`)
	require.False(t, disabled)
	for _, same := range []string{
		`{"interval":60.0}`, `{ "interval": 60, "overlap":"buffer_all", "catch_up":"all", "catch_up_window":3600, "catch_up_max":7, "pause_after":3, "probe_after":5, "run_at_registration":true }`,
	} {
		ticks, disabled := timing(same)
		require.Equal(t, plain, ticks)
		require.False(t, disabled)
	}
	ticks, disabled := timing(`{"interval":60,"disabled":true}`)
	require.Equal(t, plain, ticks)
	require.True(t, disabled)
	for _, other := range []string{
		`{}`, `{"interval":61}`, `{"cron":"* * * * *"}`, `{"interval":60,"time_zone":"UTC"}`, `{"interval":60,"start":"2027-05-01T00:00:00Z"}`, `{"interval":60,"end":"2027-05-01T00:00:00Z"}`,
		`{"interval":60,"stagger":1}`,
	} {
		ticks, _ := timing(other)
		require.NotEqual(t, plain, ticks, other)
	}
	_, _, err := schedule.Timing(json.RawMessage(`{"interval":"x"}`))
	require.Error(t, err)
}

func TestSame(t *testing.T) {
	t.Parallel()
	same := func(a, b string) bool { return schedule.Same(json.RawMessage(a), json.RawMessage(b)) }
	require.True(t, same(`{"interval":60,"overlap":"skip"}`, `{ "overlap":"skip", "interval": 60.0 }`))
	require.True(t, same(`{"interval":60}`, `{"interval":60,"disabled":true}`))
	require.False(t, same(`{"interval":60}`, `{"interval":60,"overlap":"skip"}`))
	require.False(t, same(`{`, `{`), "what cannot be read is never the same")
}

func TestText(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		`{}`:                  "no schedule",
		`{"interval":null}`:   "no schedule",
		`{"interval":3600}`:   "interval 1h0m0s",
		`{"interval":"soon"}`: `interval "soon"`,
		`{"overlap":"buffer_one","interval":3600,"stagger":1.5,"zeal":2,"age":1}`: `interval 1h0m0s, stagger 1.5s, overlap "buffer_one", age 1, zeal 2`,
		`{"probe_after":-1,"cron":"@daily"}`:                                      `cron "@daily", probe_after -1s`,
	} {
		text, err := schedule.Text(json.RawMessage(stored))
		require.NoError(t, err)
		require.Equal(t, want, text, stored)
	}
}

func TestText_Refuses(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{`[1]`, `{"interval":`, ``} {
		_, err := schedule.Text(json.RawMessage(stored))
		require.Error(t, err, stored)
	}
}

func TestWriteYAML(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		`{}`:                                   "    x: {}\n",
		`{"interval":60,"catch_up_window":90}`: "    x:\n      interval: 1m0s\n      catch_up_window: 1m30s\n",
		`[1]`:                                  "    x: [1]\n",

		// Of a Runtime.
		`{"schedule":{"cron":"@daily"},"interval":60,"type":"job_queue","queue":"etl","priority":null}`: "    x:\n      type: \"job_queue\"\n      queue: \"etl\"\n",
	} {
		var b strings.Builder
		schedule.WriteYAML(&b, "x", json.RawMessage(stored))
		require.Equal(t, want, b.String(), stored)
	}
	require.Equal(t, `"a: \"b\"\n"`, schedule.YAMLText("a: \"b\"\n"))
}
