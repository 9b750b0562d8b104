// Package schedule computes when the ticks of a schedule are. It is arithmetic with times: it
// keeps no state, starts nothing and reads no clock. Every process that has the same [Spec]
// computes the same ticks, before and after a restart.
//
// A [Plan] is a schedule as it is stored with a flow. It also decides which ticks start runs.
//
// # Ticks
//
// A schedule has an interval or a cron expression. All ticks are whole milliseconds, which
// every database keeps, and are returned in UTC.
//
//   - No tick is before Start, and none is after End. Both may be ticks themselves.
//   - Offset is added to every tick. [Stagger] computes one from a name, so that flows with
//     the same schedule do not all start in the same instant.
//   - Next returns a tick strictly after the time given. Called with the last tick, it returns
//     the following one: nothing is skipped or repeated.
//   - There are no ticks after the year 9999.
//
// # Intervals
//
// The ticks are at Start, one interval later, two intervals later, and so on. Without Start
// they are counted from 1970-01-01 00:00 UTC: an interval of an hour ticks on the hour. The
// next tick does not depend on how long the work of the last one takes. An interval is
// elapsed time: it has no time zone, and clock changes do not affect it. A day is 24 hours.
//
// # Cron
//
// An expression has five fields: minute, hour, day of the month, month, and day of the week
// (0 to 7, or SUN to SAT; both 0 and 7 are Sunday). With six, the first one is the second. Or it
// is one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually.
//
// A day of the month can be L, the last; LW, the last from Monday to Friday; or 15W, the day from
// Monday to Friday that is nearest to the 15th in the same month. A day of the week can be FRI#2,
// the second Friday of the month, or FRIL, the last.
//
// A day must match both of its fields, with one exception, as in cron: if both are restricted,
// it is enough that one matches. "0 0 13 * FRI" ticks on each 13th and on each Friday. A field
// is restricted if it is neither * nor ?. "*/2" is restricted.
//
// # Clock changes
//
// Cron expressions are in local time, in the schedule's time zone; UTC is the default.
// Fixed times follow the calendar, and stars follow real time:
//
//   - If neither the seconds, the minutes nor the hours begin with a star, a tick is at the first
//     moment at which the zone's clock shows its local time or a later one. So a local time that
//     is skipped runs at the first moment after the gap; one that comes twice runs once, the
//     first time.
//   - If the hours begin with a star, a tick is at each moment whose local time matches.
//   - If the minutes or seconds do, and the hours do not, a tick is at each moment whose local
//     time matches, and at the end of a gap that skips one.
//
// Take "30 2 * * *" in Berlin:
//
//   - On 2027-03-28, 02:00 to 03:00 is skipped. It ticks at 03:00 summer time.
//   - On 2027-10-31, 02:00 to 03:00 comes twice. It ticks at 02:30 summer time, and not again
//     an hour later.
//
// It follows that
//
//   - a daily schedule ticks once on every day, whatever the clock does;
//   - all skipped local times of one gap are a single tick, together with the regular tick at
//     that moment, if there is one;
//   - ticks of fixed times come in the order of their local times;
//   - "* * * * *" ticks every 60 seconds.
//
// The rule is the same for gaps and repetitions at midnight, for shifts of half an hour, for
// zones that change their standard time, and where the date line was moved. Samoa had no
// 2011-12-30: a tick of that day ran at 2011-12-31 00:00.
//
// [Schedule.Gap] finds the ticks that a clock change moves.
//
// Zones come from the time package, which reads the zone files of the machine. On a machine
// without zone files, programs can import time/tzdata. Processes with different versions of
// these files may disagree about ticks after a country changes its rules.
package schedule
