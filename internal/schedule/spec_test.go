package schedule_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	day := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	cron := func(expr string) schedule.Spec { return schedule.Spec{Cron: expr} }
	tests := []struct {
		name   string
		spec   schedule.Spec
		field  string
		reason string // a part of it
	}{
		{"Neither", schedule.Spec{}, "Interval", "neither Interval nor Cron"},
		{"Both", schedule.Spec{Interval: time.Minute, Cron: "* * * * *"}, "Cron", "set one of them only"},
		{"ShortInterval", schedule.Spec{Interval: 999 * time.Millisecond}, "Interval", "at least 1s"},
		{"NegativeInterval", schedule.Spec{Interval: -time.Minute}, "Interval", "at least 1s"},
		{"FineInterval", schedule.Spec{Interval: time.Second + time.Microsecond}, "Interval", "whole milliseconds"},

		{"Blank", cron("  "), "Cron", `"  " has 0 fields; it must have 5`},
		{"FourFields", cron("* * * *"), "Cron", "has 4 fields; it must have 5"},
		{"SevenFields", cron("0 * * * * * 2027"), "Cron", "has 7 fields; it must have 5"},
		{"Minute", cron("60 * * * *"), "Cron", `the minute field "60": 60 is out of range; minutes are 0 to 59`},
		{"Second", cron("61 0 * * * *"), "Cron", `the second field "61"`},
		{"Hour", cron("0 24 * * *"), "Cron", `the hour field "24"`},
		{"DayZero", cron("0 0 0 * *"), "Cron", `the day-of-month field "0"`},
		{"DaysBeforeTheLast", cron("0 0 L-3 * *"), "Cron", `the day-of-month field "L-3": days before the last are not read; list the days, such as 25-28`},
		{"LastOfHours", cron("0 L * * *"), "Cron", `the hour field "L": "L" is no such value`},
		{"LastWeekday", cron("0 0 * * L"), "Cron", "write SAT for Saturdays, or FRIL for the last Friday"},
		{"SixthFriday", cron("0 0 * * FRI#6"), "Cron", `"6" is not from 1 to 5; write FRI#2`},
		{"RangeOfSecond", cron("0 0 * * MON-FRI#2"), "Cron", "one day of the week must stand before #"},
		{"WOfRange", cron("0 0 1-15W * *"), "Cron", "W stands after one day, as in 15W"},
		{"WOfNone", cron("0 0 W * *"), "Cron", "W stands after one day, as in 15W"},
		{"Jenkins", cron("H * * * *"), "Cron", "use Stagger to spread flows"},
		{"Wrapping", cron("0 22-2 * * *"), "Cron", `the range "22-2" ends before it begins; write "22-23,0-2"`},
		{"WrappingDays", cron("0 0 * * 5-1"), "Cron", `write "5-6,0-1"`},
		{"WrappingMonths", cron("0 0 1 nov-feb *"), "Cron", `write "11-12,1-2"`},
		{"Month", cron("0 0 1 JANUARY *"), "Cron", "months are 1 to 12, or JAN to DEC"},
		{"Eighth", cron("0 0 * * 8"), "Cron", "Sunday is 0 and 7"},
		{"Backwards", cron("0 0 * * FRI-MON"), "Cron", `the day-of-week field "FRI-MON": the range "FRI-MON" ends before it begins; write "5-6,0-1"`},
		{"Word", cron("every day at noon please"), "Cron", `the minute field "every"`},
		{"OnlyComma", cron("0 0 , * *"), "Cron", "a value is missing beside a comma"},
		{"TrailingComma", cron("1, 0 * * *"), "Cron", "a value is missing beside a comma"},
		{"StarRange", cron("*-5 * * * *"), "Cron", `"*-5" is not a range`},
		{"ZeroStep", cron("*/0 * * * *"), "Cron", `the step "0" is not a positive number`},
		{"LongStep", cron("*/90 * * * *"), "Cron", "a step of 90 is more than the whole field"},
		{"Every", cron("@every 1h"), "Cron", "use Interval"},
		{"Reboot", cron("@reboot"), "Cron", "use one of @hourly @daily"},
		{"Descriptor", cron("@fortnightly"), "Cron", "use one of @hourly @daily"},
		{"Zone", cron("TZ=Europe/Berlin 0 0 * * *"), "Cron", "use TimeZone"},
		{"ZoneAlone", cron("TZ=Europe/Berlin"), "Cron", "use TimeZone"},
		{"CronZone", cron("CRON_TZ=Europe/Berlin 0 0 * * *"), "Cron", "use TimeZone"},
		{"ThirtiethOfFebruary", cron("0 0 30 2 *"), "Cron", `"0 0 30 2 *" never fires`},
		{"ThirtyFirstOfShortMonths", cron("0 0 31 2,4,6,9,11 *"), "Cron", "never fires"},

		{"ZoneOfInterval", schedule.Spec{Interval: time.Minute, TimeZone: "UTC"}, "TimeZone", "an Interval has no time zone"},
		{"UnknownZone", schedule.Spec{Cron: "@daily", TimeZone: "Europe/Atlantis"}, "TimeZone", `"Europe/Atlantis" is unknown on this machine`},
		{"UnknownZoneHint", schedule.Spec{Cron: "@daily", TimeZone: "Europe/Atlantis"}, "TimeZone", "time/tzdata"},
		{"LocalZone", schedule.Spec{Cron: "@daily", TimeZone: "Local"}, "TimeZone", "another zone on each machine"},

		{"NegativeOffset", schedule.Spec{Cron: "@daily", Offset: -time.Second}, "Offset", "not negative"},
		{"FineOffset", schedule.Spec{Cron: "@daily", Offset: time.Microsecond}, "Offset", "whole milliseconds"},
		{"LongOffset", schedule.Spec{Interval: time.Minute, Offset: time.Minute}, "Offset", "less than the Interval of 1m0s"},

		{"EndBeforeStart", schedule.Spec{Interval: time.Minute, Start: day, End: day.Add(-1)}, "End", "is before Start"},
		{"NothingBetween", schedule.Spec{Cron: "@daily", Start: day.Add(time.Second), End: day.Add(24*time.Hour - 1)}, "End", "there is no tick between"},
		{"OffsetBeyondEnd", schedule.Spec{Interval: time.Minute, Offset: time.Second, Start: day, End: day}, "End", "there is no tick between"},
		{"StartTooLate", schedule.Spec{Interval: time.Minute, Start: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "Start", "there is no tick between"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := schedule.New(test.spec)
			require.Nil(t, s)
			var fault *schedule.FieldError
			require.ErrorAs(t, err, &fault)
			require.Equal(t, test.field, fault.Field)
			require.Contains(t, fault.Reason, test.reason)
		})
	}
}

// One error reports all faults.
func TestNew_AllFaults(t *testing.T) {
	t.Parallel()
	day := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	_, err := schedule.New(schedule.Spec{
		Cron: "60 * * * *", TimeZone: "Europe/Atlantis", Offset: -1, Start: day, End: day.Add(-1),
	})
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	var fields []string
	for _, err := range joined.Unwrap() {
		var fault *schedule.FieldError
		require.ErrorAs(t, err, &fault)
		fields = append(fields, fault.Field)
	}
	require.Equal(t, []string{"Cron", "TimeZone", "Offset", "End"}, fields)
}

func TestStagger(t *testing.T) {
	t.Parallel()

	t.Run("SameEverywhere", func(t *testing.T) {
		t.Parallel()
		// Other values would move the ticks of everybody's schedules.
		require.Equal(t, 12_388*time.Millisecond, schedule.Stagger("orders", time.Minute))
		require.Equal(t, 8_654*time.Millisecond, schedule.Stagger("invoices", time.Minute))
		require.Equal(t, 21_652*time.Millisecond, schedule.Stagger("", time.Minute))
	})

	t.Run("Within", func(t *testing.T) {
		t.Parallel()
		for _, within := range []time.Duration{-time.Second, 0, 1, time.Millisecond} {
			require.Zero(t, schedule.Stagger("orders", within))
		}
		for i := range 1000 {
			name := strconv.Itoa(i)
			got := schedule.Stagger(name, 3*time.Millisecond)
			require.Less(t, got, 3*time.Millisecond)
			require.GreaterOrEqual(t, got, time.Duration(0))
			require.Less(t, schedule.Stagger(name, 1500*time.Microsecond), 1500*time.Microsecond)
		}
	})

	t.Run("Even", func(t *testing.T) {
		t.Parallel()
		var perSecond [60]int
		for i := range 6000 {
			perSecond[schedule.Stagger("flow-"+strconv.Itoa(i), time.Minute)/time.Second]++
		}
		for _, n := range perSecond {
			require.InDelta(t, 100, n, 50) // five standard deviations
		}
	})
}
