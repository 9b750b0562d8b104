package dataflow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/stored"
)

func (w *why) add(code CauseCode, runID int64, until *time.Time, format string, args ...any) {
	w.causes = append(w.causes, Cause{Code: code, RunID: runID, Until: until, Text: fmt.Sprintf(format, args...)})
}

// at returns a moment as people read it.
func (w *why) at(t time.Time) string {
	away := t.Sub(w.now)
	d, text := away.Round(time.Second), t.UTC().Format(time.RFC3339)
	switch {
	case away == math.MaxInt64, away == math.MinInt64: // further than a Duration can say
		return text
	case d > 0:
		return fmt.Sprintf("%s (in %s)", text, d)
	case d < 0:
		return fmt.Sprintf("%s (%s ago)", text, -d)
	default:
		return text + " (now)"
	}
}

// state adds what holds for all runs of the flow.
func (w *why) state() {
	f := w.flow
	for _, run := range w.running {
		w.add(CauseRunning, run.ID, nil, "It is running: run %d%s is in progress on worker %s, attempt %d of %d, %d records read so far; its lease ends at %s unless it is renewed.",
			run.ID, asBackfill(run), run.Worker, run.Attempt, run.MaxAttempts, run.Counters.Read, w.at(*run.LeaseUntil))
		if run.WaitsFor != "" {
			code := CauseBusy
			switch {
			case strings.HasPrefix(run.WaitsFor, waitsForSource):
				code = CauseSilent
			case strings.HasPrefix(run.WaitsFor, waitsForRanges):
				code = CauseFirstLoad
			}
			w.add(code, run.ID, nil, "Run %d waits for %s, since %s.", run.ID, stored.Clip(run.WaitsFor), w.at(*run.WaitsSince))
		}
	}
	for _, run := range w.lost {
		w.add(CauseLost, run.ID, nil, "Run %d was in progress on worker %s, which did not renew its lease: the lease ended at %s, and the next started client, or call of client.Tick, puts it back.", run.ID, run.Worker, w.at(*run.LeaseUntil))
	}
	if f.State != FlowActive {
		since := ""
		if f.StateAt != nil {
			since = " since " + w.at(*f.StateAt)
		}
		w.add(CausePaused, 0, nil, "It is paused%s%s: call client.Resume to go on.", since, byWhom(f.StateBy, f.StateReason))
	}
	if failed := w.client.RegistrationErrors()[f.Name]; failed != nil {
		w.unregistered(failed)
	}
	switch unread := f.unread(); {
	case unread != nil:
		w.add(CauseUnreadable, 0, nil, "This process cannot read its runtime: %v.", unread)
	case !f.Runtime.Settings().Enabled:
		w.add(CauseDisabled, 0, nil, "Its runtime is disabled, in the code that was registered last%s.", ofVersion(f.CodeVersion))
	}
	if w.plan != nil && w.plan.Tripped(f.TrippedAt) {
		probe := "call client.Resume to go on"
		if f.ProbeAt != nil {
			probe = fmt.Sprintf("one run tries whether it works again at %s, and client.Resume goes on at once", w.at(*f.ProbeAt))
		}
		w.add(CauseTripped, 0, f.ProbeAt, "Its ticks have started no runs since %s, because %s; %s.", w.at(*f.TrippedAt), stored.Clip(f.TrippedReason), probe)
	}
	if len(w.running) == 0 {
		w.processesThere()
	}
}

// asBackfill marks a run that is a backfill, or a range of a first load.
func asBackfill(run *Run) string {
	switch {
	case run.Trigger == TriggerFirstLoad:
		return ", a range of the first load,"
	case run.IsBackfill():
		return ", a backfill,"
	default:
		return ""
	}
}

// unregistered adds why this process could not register the flow.
func (w *why) unregistered(err error) {
	w.add(CauseUnregistered, 0, nil, "This process could not register it, and tries again now and then: %s.", stored.Clip(private(err).Error()))
}

// processesThere adds a cause if no live process could work the flow.
func (w *why) processesThere() {
	if unsaid := w.client.worker.presence.unsaid.Load(); len(w.processes) == 0 && unsaid != nil && w.client.worker.polling.Load() && w.client.flows.declared[w.flow.Name] != nil {
		w.add(CauseNoProcess, 0, nil, "This process has its code and is started, but cannot store that it is alive: %s.", stored.Clip(*unsaid))
		return
	}
	if len(w.processes) == 0 {
		who := "Only calls of client.Tick or of the heartbeat endpoint would"
		if _, queued := queuedOf(w.flow.Runtime); queued {
			who = "Start a client that has its code: its runs are River jobs, which client.Tick does not work"
		}
		w.add(CauseNoProcess, 0, nil, "No process works it: no started client is alive. %s.", who)
		return
	}
	for _, p := range w.processes {
		if slices.Contains(p.Flows, w.flow.Name) {
			return
		}
	}
	ids := make([]string, len(w.processes))
	for i, p := range w.processes {
		ids[i] = p.ID
	}
	w.add(CauseNotRegistered, 0, nil, "No live process has its code: none of the live processes (%d: %s) has a flow of this name in its Config.Flows.", len(ids), stored.Clip(strings.Join(ids, ", ")))
}

// wait adds what a pending run waits for.
func (w *why) wait(ctx context.Context, run *Run) error {
	busy, places := w.inTheWay(run)
	switch {
	case !w.due(run) && run.Attempt > 0:
		w.add(CauseBackingOff, run.ID, &run.RunAfter, "Run %d waits until %s for its next attempt: attempt %d of %d failed with: %s", run.ID, w.at(run.RunAfter), run.Attempt, run.MaxAttempts, stored.Clip(run.Error))
	case !w.due(run):
		w.add(CauseNotDue, run.ID, &run.RunAfter, "Run %d waits for its time, %s%s.", run.ID, w.at(run.RunAfter), byWhom(run.Actor, run.Reason))
	case len(busy) >= places:
		other := busy[0]
		w.add(CauseBlocked, run.ID, nil, "Run %d waits for run %d, which is in progress on worker %s. That lease ends at %s unless it is renewed.", run.ID, other.ID, other.Worker, w.at(*other.LeaseUntil))
	case w.turn(run, places-len(busy)) != nil:
		first := w.turn(run, places-len(busy))
		why := "an earlier tick"
		if first.Rescues > 0 {
			why = "whose worker died, and which goes on first"
		} else if run.IsBackfill() {
			why = "as a backfill lets the flow's own runs go first"
		}
		w.add(CauseBlocked, run.ID, nil, "Run %d waits for run %d, %s.", run.ID, first.ID, why)
	case strings.HasPrefix(run.WaitsFor, WaitsForGroup):
		w.add(CauseGroup, run.ID, nil, "Run %d has waited since %s for %s: other runs of the group are in progress, or older ones go first.", run.ID, w.at(*run.WaitsSince), stored.Clip(run.WaitsFor))
	case strings.HasPrefix(run.WaitsFor, waitsForSuspect):
		w.add(CauseBlocked, run.ID, nil, "Run %d has waited since %s for %s. A process works such runs one at a time: this one starts when that has committed a checkpoint or ended, or in another process.", run.ID, w.at(*run.WaitsSince), stored.Clip(run.WaitsFor))
	case run.WaitsFor != "":
		w.add(CauseNoConnection, run.ID, nil, "Run %d has waited since %s for connections: %s.", run.ID, w.at(*run.WaitsSince), stored.Clip(run.WaitsFor))
	case run.Queue != "":
		return w.waitInQueue(ctx, run)
	case !w.held():
		when := "any moment"
		if polls := w.polls(); polls != "" {
			when = "when a process next looks for runs: " + polls
		}
		w.add(CauseStarting, run.ID, nil, "Run %d has been due since %s, and nothing stops it: it should start %s.", run.ID, w.at(run.RunAfter), when)
	}
	return nil
}

// polls says when the processes with the flow's code look for its runs. It is empty if one of them
// is told of a run at once.
func (w *why) polls() string {
	var looks []string
	for _, p := range w.processes {
		switch {
		case !slices.Contains(p.Flows, w.flow.Name):
		case p.Polls == "":
			return ""
		default:
			looks = append(looks, fmt.Sprintf("%s looks %s", p.ID, p.Polls))
		}
	}
	return strings.Join(looks, "; ")
}

// inTheWay returns the runs in progress that take the places for a run, and how many places
// there are. A process without the flow's code sees from the slots whether backfills have
// their own. It does not know how many there are.
func (w *why) inTheWay(run *Run) ([]*Run, int) {
	inProgress := slices.Concat(w.running, w.lost)
	ownSlots := slices.DeleteFunc(slices.Clone(inProgress), func(r *Run) bool { return r.Slot < FirstBackfillSlot })
	if !w.flow.Registered() && run.IsBackfill() && len(ownSlots) > 0 {
		return ownSlots, len(ownSlots)
	}
	return w.flow.inTheWay(run, inProgress), w.flow.places(run)
}

// turn returns the waiting run of the flow that must be claimed before a due run, nil if there is
// none. There is room for that many runs. RunClaim has the same rules.
func (w *why) turn(run *Run, room int) *Run {
	if first := w.rescued(run, room); first != nil {
		return first
	}
	slots := w.flow.slots()
	if slots.Slots != 1 {
		return nil
	}
	tick := func(r *Run) bool { return r.Trigger == TriggerSchedule && r.LeaseNumber == 0 }
	for _, o := range w.waiting {
		switch {
		case o.ID == run.ID, o.Queue != run.Queue, o.IsBackfill() && !tick(o):
		case tick(run) && tick(o) && o.ScheduledFor.Before(run.ScheduledFor):
			return o
		case run.IsBackfill() && slots.Backfills == 0 && w.due(o) && !o.IsBackfill():
			return o
		}
	}
	return nil
}

// rescued returns the first of the flow's runs that have lost their workers, if they need all the room
// that there is for a run that was never claimed. Only a tick waits for them longer than a lease.
func (w *why) rescued(run *Run, room int) *Run {
	if run.IsBackfill() || run.LeaseNumber > 0 || run.Trigger != TriggerSchedule && w.now.Sub(run.CreatedAt) >= w.client.config.Lease {
		return nil
	}
	lost := slices.DeleteFunc(slices.Clone(w.waiting), func(o *Run) bool {
		return o.ID == run.ID || o.Rescues == 0 || o.IsBackfill() || o.Queue != run.Queue || !w.due(o)
	})
	if len(lost) < room {
		return nil
	}
	return lost[0]
}

// due reports whether the time of a waiting run has come.
func (w *why) due(run *Run) bool { return !run.RunAfter.After(w.now) }

// held reports whether an earlier cause explains why no run starts.
func (w *why) held() bool {
	return slices.ContainsFunc(w.causes, func(c Cause) bool {
		switch c.Code {
		case CausePaused, CauseDisabled, CauseUnreadable, CauseNoProcess, CauseNotRegistered:
			return true
		default:
			return false
		}
	})
}

// waitInQueue adds what a due run with a River job waits for.
func (w *why) waitInQueue(ctx context.Context, run *Run) error {
	rc, err := w.client.jobs.client()
	if err != nil {
		return err
	}
	job, err := rc.JobGet(ctx, run.RiverJobID)
	switch {
	case errors.Is(err, river.ErrNotFound): // it gets another job
		job = &rivertype.JobRow{ID: run.RiverJobID, Queue: run.Queue}
	case err != nil && ctx.Err() == nil && !w.client.store.Classify(err).Passes(): // for example, its time is infinity
		w.add(CauseNoWorker, run.ID, nil, "Run %d has been due since %s, and its River job %d cannot be read: %s. A started client with the flow's code gives it another job in about a minute.", run.ID, w.at(run.RunAfter), run.RiverJobID, stored.Clip(err.Error()))
		return nil
	case err != nil:
		return fmt.Errorf("look at River job %d: %w", run.RiverJobID, err)
	}
	queue := job.Queue // a hook of the service may have changed it, or somebody has edited the job
	paused, err := rc.QueuePaused(ctx, queue)
	if err != nil {
		return fmt.Errorf("look at queue %q: %w", queue, err)
	}
	worked, seen, err := w.worksQueue(ctx, rc, queue)
	if err != nil {
		return fmt.Errorf("look at queue %q: %w", queue, err)
	}
	switch {
	case job.State == rivertype.JobStatePending:
		w.add(CauseNoWorker, run.ID, nil, "Run %d has been due since %s, and its River job %d is pending, where no worker takes it: a hook of River's client or somebody has set that. Once River's JobRetry is called for it, it is worked.", run.ID, w.at(run.RunAfter), job.ID)
	case paused:
		w.add(CauseQueuePaused, run.ID, nil, "Run %d waits in the River queue %q, which is paused.", run.ID, queue)
	case !worked && len(w.processes) > 0:
		w.add(CauseNoWorker, run.ID, nil, "Run %d waits in the River queue %q, which no live process works%s.", run.ID, queue, w.addQueue())
	case w.held():
	case strange(job):
		w.add(CauseNoWorker, run.ID, nil, "Run %d has been due since %s, and its River job %d has failed: a River client that works the queue %q does not have our worker: call Client.AddWorker for it, or give the flow a queue of its own. River's next try is due at %s.",
			run.ID, w.at(run.RunAfter), job.ID, queue, w.at(job.ScheduledAt))
	case job.State == rivertype.JobStateRetryable && job.ScheduledAt.After(w.now) && len(job.Errors) > 0:
		w.add(CauseBackingOff, run.ID, nil, "Run %d has been due since %s, and its River job %d failed before the run began. River tries it again at %s; if that is far, the run gets another job in about a minute. The error was: %s",
			run.ID, w.at(run.RunAfter), job.ID, w.at(job.ScheduledAt), stored.Clip(job.Errors[len(job.Errors)-1].Error))
	case job.State != rivertype.JobStateRunning && job.ScheduledAt.Sub(w.now) > time.Minute:
		w.add(CauseNotDue, run.ID, nil, "Run %d has been due since %s, and its River job %d waits until %s: River, a middleware of its client, or somebody has put it off. It gets another job in about a minute.", run.ID, w.at(run.RunAfter), job.ID, w.at(job.ScheduledAt))
	default:
		w.add(CauseStarting, run.ID, nil, "Run %d has been due since %s, and its River job %d in the queue %q waits for a free worker: it should start any moment%s.%s%s", run.ID, w.at(run.RunAfter), job.ID, queue, seen, w.strangers(queue), putOff(job))
	}
	return nil
}

// queue adds that the queue of the flow's next runs is paused, unless a waiting run has told it.
func (w *why) queue(ctx context.Context) error {
	rt, queued := queuedOf(w.flow.Runtime)
	if !queued || slices.ContainsFunc(w.causes, func(c Cause) bool { return c.Code == CauseQueuePaused }) {
		return nil
	}
	rc, err := w.client.jobs.client()
	if err != nil { // for example, the schema's name is one that River refuses
		w.add(CauseUnreadable, 0, nil, "This process cannot look at its River queue %q: %v.", rt.QueueName(), private(err))
		return nil
	}
	paused, err := rc.QueuePaused(ctx, rt.QueueName())
	if err != nil {
		return fmt.Errorf("look at queue %q: %w", rt.QueueName(), err)
	}
	if paused {
		w.add(CauseQueuePaused, 0, nil, "Its River queue %q is paused: no run of it starts until somebody resumes the queue.", rt.QueueName())
	}
	return nil
}

// failsOften is how many failures in a row make Why suggest PauseAfter.
const failsOften = 3

// unseenAfter is how long after its time a tick should have been seen.
const unseenAfter = 5 * time.Second

// idle says why neither ticks nor another flow start a run now. Empty: nothing is in the way. A Runtime that only
// another process can read is not disabled.
func (w *why) idle() string {
	switch {
	case w.flow.unread() == nil:
		return afterHeld(w.flow)
	case !w.flow.IsActive():
		return "paused"
	default:
		return ""
	}
}

// after adds which flow this one follows, and reports whether there is one.
func (w *why) after(ctx context.Context) (bool, error) {
	a, err := w.client.store.AfterGet(ctx, w.flow.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	which := "each successful run"
	if a.OnlyIfRows {
		which = "each successful run that wrote rows"
	}
	held := w.idle()
	switch {
	case !a.Registered:
		w.add(CauseAfter, 0, nil, "It runs after flow %q, which no process has registered in this database yet.", a.Flow)
	case a.Due != nil && held != "":
		w.add(CauseAfter, a.Due.RunID, nil, "It runs after flow %q. Run %d of that has succeeded, but this flow is %s: one run starts as soon as it is not.", a.Flow, a.Due.RunID, held)
	case a.Due != nil:
		w.add(CauseAfter, a.Due.RunID, nil, "It runs after flow %q. Run %d of that has succeeded, and a started client with this flow's code starts a run within its PollInterval.", a.Flow, a.Due.RunID)
	case a.LastRun == 0:
		w.add(CauseAfter, 0, nil, "It runs after flow %q, after %s. That has not succeeded yet%s.", a.Flow, which, w.unlessWorked(a.Flow))
	default:
		w.add(CauseAfter, a.LastRun, nil, "It runs after flow %q, after %s. The last success there is run %d%s.", a.Flow, which, a.LastRun, w.unlessWorked(a.Flow))
	}
	return true, nil
}

// unlessWorked says of a flow that no live process has its code. If no process is alive, another cause says so.
func (w *why) unlessWorked(name string) string {
	if len(w.processes) == 0 || slices.ContainsFunc(w.processes, func(p *Process) bool { return slices.Contains(p.Flows, name) }) {
		return ""
	}
	return ", and no live process has its code: see whether it was renamed or removed"
}

// schedule adds when the flow runs by itself.
func (w *why) schedule(follows bool) {
	f := w.flow
	switch {
	case w.plan == nil:
		w.add(CauseUnreadable, 0, nil, "This process cannot read its schedule, %s.", stored.Clip(string(f.ScheduleJSON)))
	case !w.plan.HasTicks() && follows:
	case !w.plan.HasTicks():
		w.add(CauseNoSchedule, 0, nil, "It has no schedule: it runs only when somebody calls it.")
	case f.NextRunAt == nil:
		w.add(CauseScheduleOver, 0, nil, "Its schedule is over: there are no more ticks.")
	case w.now.Sub(*f.NextRunAt) > unseenAfter:
		w.add(CauseOverdue, 0, nil, "Its tick of %s is overdue: no started client with its code has looked for ticks since.", w.at(*f.NextRunAt))
	case w.idle() != "":
		w.add(CauseNextTick, 0, f.NextRunAt, "The ticks of its schedule start no runs while it is %s; the next is at %s.", w.idle(), w.at(*f.NextRunAt))
	default:
		w.add(CauseNextTick, 0, f.NextRunAt, "Its next tick is at %s.", w.at(*f.NextRunAt))
	}
}

// noted adds what the store and the source have to say about the next read.
func (w *why) noted(ctx context.Context) error {
	if s, ok := w.client.store.(NotedStore); ok {
		for _, note := range s.Notes() {
			w.add(CauseNoted, 0, nil, "Of the database of the flow: %s.", note)
		}
	}
	if !w.flow.Registered() {
		return nil
	}
	place, err := w.client.store.CursorGet(ctx, w.flow.ID)
	if err != nil {
		return err
	}
	if len(w.running) > 0 && w.flow.code.tellsLag() {
		if lag, err := w.flow.code.lag(ctx, place.Cursor); err == nil && lag.Bytes != nil {
			w.follows(&lag, place)
		}
	}
	for _, note := range w.flow.code.notes(ctx, place.Cursor) {
		w.add(CauseNoted, 0, nil, "Its source notes: %s.", note)
	}
	return nil
}

// follows adds how far a run that follows a log is.
func (w *why) follows(lag *Lag, place *FlowCursor) {
	if place.At == nil {
		return // it has just begun
	}
	left := "and waits for more, because it has read all of it"
	if *lag.Bytes > 0 {
		left = fmt.Sprintf("of which %d bytes are after its cursor", *lag.Bytes)
	}
	if lag.Age != nil && *lag.Age > 0 {
		left += fmt.Sprintf("; the target is at most %s old", lag.Age.Round(time.Millisecond))
	}
	w.add(CauseFollows, w.running[0].ID, nil, "Run %d follows a log, %s. Its cursor moved last at %s: %s.", w.running[0].ID, left, w.at(*place.At), stored.PlaceText(place.Cursor))
}

// clock adds that the database's clock went back: something was stored at a time that has not come.
func (w *why) clock() {
	latest := w.now
	note := func(t *time.Time) {
		if t != nil && t.After(latest) {
			latest = *t
		}
	}
	note(w.flow.LastRunAt)
	if w.skipped != nil {
		note(&w.skipped.CreatedAt)
	}
	if w.last != nil {
		note(&w.last.CreatedAt)
		note(w.last.EndedAt)
	}
	if latest.Sub(w.now) <= clockBack {
		return
	}
	until := "no tick fires before it has passed that time"
	if f := w.flow; f.NextRunAt != nil {
		until = "no tick fires before " + w.at(*f.NextRunAt)
	}
	w.add(CauseClock, 0, w.flow.NextRunAt, "The database's clock went back: something of this flow was stored at %s by that clock. Ticks up to then are dealt with, and %s.", w.at(latest), until)
}

// zone adds that processes disagree about the flow's time zone.
func (w *why) zone(ctx context.Context) error {
	zone := w.flow.Runtime.Settings().Schedule.TimeZone
	if zone == "" {
		return nil
	}
	conflicts, err := zoneConflicts(ctx, w.client.store, w.processes, w.now)
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		if c.Zone == zone {
			w.add(CauseZoneData, 0, nil, "Its next ticks depend on who computes them: %s.", c)
			return nil
		}
	}
	return nil
}

// past adds the outcome of the last run and the last tick.
func (w *why) past() {
	if run := w.last; run != nil && run.State == RunFailed {
		final := ""
		if run.Attempt < run.MaxAttempts {
			final = "and is not tried again, "
		}
		w.add(CauseFailed, run.ID, nil, "Its last run, %d, failed at %s, after attempt %d of %d, %swith: %s%s", run.ID, w.at(*run.EndedAt), run.Attempt, run.MaxAttempts, final, stored.Clip(run.Error), w.failsOn())
	}
	if s := w.skipped; s != nil && (w.last == nil || s.Last.After(w.last.ScheduledFor)) {
		what := "The tick of " + w.at(s.Last)
		if s.Count > 1 {
			what = fmt.Sprintf("The last %d ticks, up to that of %s,", s.Count, w.at(s.Last))
		}
		w.add(CauseSkipped, 0, nil, "%s started no run: %s.", what, s.Reason.Text())
	}
}

// failsOn suggests PauseAfter for a flow whose ticks go on failing.
func (w *why) failsOn() string {
	f := w.flow
	if f.Failures < failsOften || w.plan == nil || !w.plan.HasTicks() || f.Runtime.Settings().Schedule.PauseAfter > 0 {
		return ""
	}
	return fmt.Sprintf(" (%d runs in a row have failed, and each tick starts another one: Schedule.PauseAfter would stop that.)", f.Failures)
}

// letters adds how many dead letters are tried again.
func (w *why) letters(ctx context.Context) error {
	letters, err := w.client.store.DeadLetterHeld(ctx, w.flow.ID, 0, retryPage)
	if err != nil || len(letters) == 0 {
		return err
	}
	last := letters[0].RetryUntil
	for _, l := range letters {
		if l.RetryUntil.After(*last) {
			last = l.RetryUntil
		}
	}
	count := strconv.Itoa(len(letters))
	if len(letters) == retryPage {
		count += " or more"
	}
	w.add(CauseRetrying, 0, last, "%s of its dead letters are tried again at the end of each run, until %s at the latest. The oldest, %s, failed with: %s", count, w.at(*last), letters[0].Key, stored.Clip(letters[0].Error))
	return nil
}

// untoldSoon is how long the end of a run may be untold before that is worth a word.
const untoldSoon = time.Minute

// untold adds the ends of runs that are not told.
func (w *why) untold(ctx context.Context) error {
	all, err := w.client.store.CallbackList(ctx, &CallbackListParams{FlowID: w.flow.ID, Limit: maxPage})
	if err != nil || len(all) == 0 {
		return err
	}
	waiting := slices.DeleteFunc(slices.Clone(all), (*UntoldRun).GaveUp)
	if first := all[0]; !first.GaveUp() && (first.Tries > 0 || w.now.Sub(first.EndedAt) > untoldSoon) {
		text := fmt.Sprintf("The end of run %d, at %s, has not been told: %s.", first.RunID, w.at(first.EndedAt), first.Why())
		if more := len(waiting) - 1; more > 0 {
			text += fmt.Sprintf(" So it is with %d more.", more)
		}
		w.add(CauseUntold, first.RunID, &first.NextAt, "%s", text)
	}
	gone, err := w.client.store.CallbackList(ctx, &CallbackListParams{FlowID: w.flow.ID, GivenUp: true, Limit: maxPage})
	if err != nil || len(gone) == 0 {
		return err
	}
	last := gone[len(gone)-1]
	w.add(CauseUntold, last.RunID, nil, "The ends of some runs were never told (%d). The last of them is run %d: %s.", len(gone), last.RunID, last.Why())
	return nil
}
