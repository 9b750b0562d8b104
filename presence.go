package dataflow

// Presence tells the other processes which process is there, and what it works. It knows the
// flows and the jobs.

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// presence tells the other processes that this one is alive. A started client says so twice in
// a lease, and the others believe it for two leases. Only [Client.Why] and [Client.Processes]
// depend on that: runs have leases of their own.
type presence struct {
	base
	flows *registry
	jobs  *jobs
	zones zones
}

func (p *presence) every() time.Duration { return p.config.Lease / 2 }
func (p *presence) lasts() time.Duration { return 2 * p.config.Lease }

// sayAlive stores that this client is alive, and what it works.
func (p *presence) sayAlive(ctx context.Context) error {
	if err := p.warnOfClock(ctx); err != nil {
		return err
	}
	now := p.now()
	zoneData, isNew := p.zoneData(now)
	process := &Process{ZoneData: zoneData, ID: p.config.ID, CodeVersion: p.config.CodeVersion, Flows: make([]string, 0, len(p.flows.declared)), Queues: p.jobs.workedQueues()}
	failed := p.flows.failures()
	for name := range p.flows.declared {
		if failed[name] == nil {
			process.Flows = append(process.Flows, name)
		}
	}
	slices.Sort(process.Flows)
	if err := p.store.ProcessSeen(ctx, process, p.lasts()); err != nil || !isNew {
		return err
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
