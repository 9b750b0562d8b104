package dataflow

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/zonedata"
)

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
