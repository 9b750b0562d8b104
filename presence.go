package dataflow

// Presence tells the other processes which process is there, and what it works. It knows the
// flows and the jobs.

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
	"github.com/activedataflow/dataflow/internal/wake"
	"github.com/activedataflow/dataflow/internal/zonedata"
)

// presence tells the other processes that this one is alive. A started client says so twice in
// a lease, and the others believe it for two leases. Only [Client.Why] and [Client.Processes]
// depend on that: runs have leases of their own.
type presence struct {
	base
	flows *registry
	jobs  *jobs
	zones zones

	listening *wake.Loop // the worker's

	said   string                 // what changes of what it last said: its queues, and the flows that it could not register
	unsaid atomic.Pointer[string] // why it could not say so when it last tried, nil if it could
}

func (p *presence) every() time.Duration { return p.config.Lease / 2 }
func (p *presence) lasts() time.Duration { return 2 * p.config.Lease }

// sayAlive stores that this client is alive, and what it works.
func (p *presence) sayAlive(ctx context.Context) error {
	var unsaid *string
	err := p.say(ctx)
	if err != nil {
		unsaid = new(private(err).Error())
	}
	p.unsaid.Store(unsaid)
	return err
}

func (p *presence) say(ctx context.Context) error {
	if err := p.warnOfClock(ctx); err != nil {
		return err
	}
	now := p.now()
	zoneData, isNew := p.zoneData(now)
	failed := p.flows.failures()
	queues := p.jobs.workedQueues()
	polls := p.polls()
	says := fmt.Sprintf("%q %q %q", polls, queues, slices.Sorted(maps.Keys(failed)))
	if !isNew && says == p.said {
		if is, err := p.store.ProcessAlive(ctx, p.config.ID, p.lasts()); is || err != nil {
			return err
		}
	}
	process := &Process{ZoneData: zoneData, ID: p.config.ID, CodeVersion: p.config.CodeVersion, Flows: make([]string, 0, len(p.flows.declared)), Queues: queues, Polls: polls}
	for name := range p.flows.declared {
		if failed[name] == nil {
			process.Flows = append(process.Flows, name)
		}
	}
	slices.Sort(process.Flows)
	if err := p.store.ProcessSeen(ctx, process, p.lasts()); err != nil {
		return err
	}
	p.said = says
	if !isNew {
		return nil
	}
	if err := p.warnOfZones(ctx, now); err != nil { // for example, the server's zone files cannot be read
		p.log.WarnContext(ctx, "dataflow: could not compare zone data", slog.String(logError, err.Error()))
	}
	return nil
}

// sayGone removes that entry when the client stops.
func (p *presence) sayGone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if err := p.store.ProcessGone(ctx, p.config.ID); err != nil {
		p.log.WarnContext(ctx, "dataflow: could not store that this process stopped; the others notice within two leases", slog.String(logWorker, p.config.ID), slog.String(logError, err.Error()))
	}
}

// polls says how often this process looks for the runs of other processes, and why it is not told
// of them. It is empty if it is told.
func (p *presence) polls() string {
	every := "every " + p.config.PollInterval.String()
	switch _, can := p.store.(Notifier); {
	case !can:
		return every + ", because its database tells it nothing"
	case p.config.PollOnly:
		return every + ", because of Config.PollOnly"
	case p.listening.Err() != nil:
		return every + ", because it cannot listen: " + stored.Clip(p.listening.Err().Error())
	default:
		return ""
	}
}

// zonesEvery is how often a process looks at its zone data again. The system's may be updated while
// it runs.
const zonesEvery = time.Hour

// zones is what a process says about its zone data.
type zones struct {
	mu   sync.Mutex // guards the fields below
	at   time.Time
	data *ZoneData
	told map[string]bool // the conflicts that are logged
	seen time.Time       // the latest time of the database's clock
}

// clockBack is how much the database's clock may go back without a word.
const clockBack = time.Second

// warnOfClock logs that the database's clock went back. Ticks up to its latest time are dealt with, and
// do not fire again.
func (p *presence) warnOfClock(ctx context.Context) error {
	now, err := p.store.Now(ctx)
	if err != nil {
		return err
	}
	p.zones.mu.Lock()
	defer p.zones.mu.Unlock()
	was := p.zones.seen
	p.zones.seen = now
	if back := was.Sub(now); back > clockBack {
		p.log.WarnContext(ctx, "dataflow: the database's clock went back; ticks up to its latest time are dealt with, and no schedule fires before the first tick after that",
			slog.Duration("back", back), slog.Time("now", now), slog.Time("until", was))
	}
	return nil
}

// zoneData returns the zone data of this process, and whether it has looked at them now.
func (p *presence) zoneData(now time.Time) (*ZoneData, bool) {
	p.zones.mu.Lock()
	defer p.zones.mu.Unlock()
	if p.zones.data != nil && now.Sub(p.zones.at).Abs() < zonesEvery {
		return p.zones.data, false
	}
	data := &ZoneData{Offsets: make(map[string][]ZoneOffset)}
	for _, f := range p.flows.declared {
		s := f.Runtime.Settings().Schedule
		if s.Cron == "" || s.TimeZone == "" || data.Offsets[s.TimeZone] != nil {
			continue
		}
		offsets, err := zonedata.Offsets(s.TimeZone, now)
		if err != nil {
			continue // NewClient refuses such a schedule
		}
		data.Offsets[s.TimeZone] = offsets
		data.Source, data.Version = zonedata.Where(s.TimeZone)
	}
	p.zones.at, p.zones.data = now, data
	return data, true
}

// warnOfZones logs the conflicts in which this process is, each once.
func (p *presence) warnOfZones(ctx context.Context, now time.Time) error {
	all, err := p.store.ProcessList(ctx)
	if err != nil {
		return err
	}
	conflicts, err := zoneConflicts(ctx, p.store, all, now)
	if err != nil {
		return err
	}
	p.zones.mu.Lock()
	defer p.zones.mu.Unlock()
	for _, c := range conflicts {
		if (c.Processes[0] != p.config.ID && c.Processes[1] != p.config.ID) || p.zones.told[c.String()] {
			continue
		}
		if p.zones.told == nil {
			p.zones.told = make(map[string]bool)
		}
		p.zones.told[c.String()] = true
		p.log.WarnContext(ctx, "dataflow: zone data differ, and so do ticks: "+c.String(), slog.String("zone", c.Zone))
	}
	return nil
}
