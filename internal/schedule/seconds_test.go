package schedule_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

func TestSeconds(t *testing.T) {
	t.Parallel()
	for text, d := range map[string]time.Duration{
		"0":                     0,
		"60":                    time.Minute,
		"1.5":                   1500 * time.Millisecond,
		"-1":                    -time.Second,
		"-0.25":                 -250 * time.Millisecond,
		"0.000000001":           1,
		"6307200000.003":        200*365*24*time.Hour + 3*time.Millisecond,
		"9223372036.854775807":  math.MaxInt64,
		"-9223372036.854775808": math.MinInt64,
	} {
		data, err := json.Marshal(schedule.Seconds(d))
		require.NoError(t, err)
		require.Equal(t, text, string(data))
		var back schedule.Seconds
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, d, time.Duration(back))
	}
}

func TestSeconds_Unmarshal(t *testing.T) {
	t.Parallel()
	s := schedule.Seconds(time.Minute)
	require.NoError(t, json.Unmarshal(json.RawMessage(`null`), &s))
	require.Equal(t, schedule.Seconds(time.Minute), s)
	require.NoError(t, json.Unmarshal(json.RawMessage(`3e2`), &s), "what time.ParseDuration does not read")
	require.Equal(t, schedule.Seconds(5*time.Minute), s)
	for data, want := range map[string]string{
		`"5m"`: `interval "5m" is not a number of seconds`,
		`true`: "interval true is not a number of seconds",
		`1e10`: "interval 1e10 is out of range",
	} {
		require.EqualError(t, json.Unmarshal(json.RawMessage(data), &s), want)
	}
}
