// Package schedule says when the ticks of a schedule are. It is arithmetic with times: it
// keeps no state, starts nothing and asks no clock, so that every process that has the same
// [Spec] computes the same ticks, before and after a restart.
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
//   - Next is strictly after the time that it is given. Asking with the last tick so gives
//     the one that follows it, and nothing is skipped or repeated.
//   - There are no ticks after the year 9999.
//
// # Intervals
//
// The ticks are at Start, one interval later, two intervals later, and so on. Without Start
// they are counted from 1970-01-01 00:00 UTC: an interval of an hour ticks on the hour. The
// work that a tick starts never moves the next one. An interval is elapsed time: it has no
// time zone, and clock changes do not touch it. A day is 24 hours.
//
// # Cron
//
// An expression has five fields: minute, hour, day of the month, month, and day of the week
// (0 to 6, or SUN to SAT). With six, the first one is the second. Or it is one of @hourly,
// @daily, @midnight, @weekly, @monthly, @yearly and @annually.
//
// A day must match both of its fields; but if both are restricted, one of them is enough, as
// in cron: "0 0 13 * FRI" ticks on each 13th and on each Friday. A field is restricted if it
// is neither * nor ?; "*/2" restricts.
//
// # Clock changes
//
// Cron expressions are about local time, in the schedule's time zone; UTC is the default.
// Where clocks are put forward or back, this is the rule:
//
// A local time that is skipped runs at the first moment after the gap; one that comes twice
// runs once, the first time.
//
// In other words, a tick is at the first moment at which the zone's clock shows its local
// time or a later one. In Berlin on 2027-03-28, where 02:00 to 03:00 is skipped, "30 2 * * *"
// ticks at 03:00 summer time; on 2027-10-31, where 02:00 to 03:00 comes twice, it ticks at
// 02:30 summer time, and not again an hour later. It follows that
//
//   - a daily schedule ticks on every day, once, whatever the clock does;
//   - several skipped local times of one gap are one tick, which is also the regular tick at
//     that moment, if there is one;
//   - ticks come in the order of their local times;
//   - "* * * * *" is silent while an hour is repeated, because each of its minutes has been;
//     who wants one every 60 seconds takes an interval.
//
// The rule is the same for gaps and repetitions at midnight, for shifts of half an hour, for
// zones that change their standard time, and where the date line was moved. Samoa had no
// 2011-12-30: what was to run on that day ran at 2011-12-31 00:00.
//
// [Schedule.Gap] finds the ticks that a clock change moves.
//
// Zones come from the time package, which reads the files of the machine. Where there are
// none, programs can import time/tzdata. Processes with different versions of these files may
// disagree about ticks after a change of a country's rules.
package schedule
