package dataflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow/internal/pools"
)

// PoolNeeds returns how many connections each pool needs for this client's flows: its own
// pool first. Pools of parts that do not say what they need ([PoolUser]) are left out.
func (c *Client) PoolNeeds() []*PoolNeed { return c.poolNeeds(c.config.Flows) }

// checkPools returns an error for each flow whose pool can never have room for it.
func (b base) checkPools(flows []*Flow) error {
	var errs []error
	for _, f := range flows {
		if f == nil || f.code == nil || f.code.validate() != nil {
			continue // reported elsewhere
		}
		for _, n := range b.needsOf(f) {
			if n.Size > 0 && n.Least() > n.Size {
				errs = append(errs, &ConfigError{Field: fmt.Sprintf("Flows[%q]", f.Name), Reason: fmt.Sprintf(
					"its pool has %s, and a run needs %d: it holds %d until its last record, and needs another for its checkpoints meanwhile: make the pool larger (pool_max_conns=%d, or SetMaxOpenConns), or read from another pool",
					plural(n.Size, "connection"), n.Least(), n.Held, n.Least()+1)})
			}
		}
	}
	return errors.Join(errs...)
}

// poolNeeds counts what the flows need, pool by pool.
func (b base) poolNeeds(flows []*Flow) []*PoolNeed {
	var all []*PoolNeed
	var keys []any
	spare := make(map[any]int)
	of := func(key any, size int) *PoolNeed {
		if i := slices.Index(keys, key); i >= 0 {
			return all[i]
		}
		keys, all = append(keys, key), append(all, &PoolNeed{Size: size})
		return all[len(all)-1]
	}
	for _, u := range usesOf(b.store) {
		of(u.Pool, u.Size)
		spare[u.Pool] = u.Borrowed
	}
	for _, f := range flows {
		for _, n := range b.needsOf(f) {
			p := of(n.Pool, n.Size)
			p.Least = max(p.Least, n.Least())
			spare[n.Pool] = max(spare[n.Pool], n.Spare)
		}
		for _, part := range f.code.parts() {
			for _, u := range usesOf(part.part) {
				runs := f.slots().Slots + f.slots().Backfills
				if p := of(u.Pool, u.Size); u.Held > 0 {
					p.AllAtOnce += u.Held * runs
					p.Counted = append(p.Counted, fmt.Sprintf("%d for the %s of flow %q (%s), from the first record to the last", u.Held*runs, part.name, f.Name, describe(part.part).Type))
				}
			}
		}
	}
	for i, p := range all {
		held := p.AllAtOnce
		p.AllAtOnce = pools.Enough(held, spare[keys[i]])
		switch p.AllAtOnce - held {
		case spareConnections:
			p.Counted = append(p.Counted, "2 that no run holds, one of them for checkpoints")
		case 1:
			p.Counted = append(p.Counted, "1 that no run holds")
		}
		p.Least = max(p.Least, min(1, spare[keys[i]]))
	}
	return all
}

// String says it in a sentence.
func (p *PoolNeed) String() string {
	size := "a pool without a limit"
	if p.Size > 0 {
		size = "a pool of " + plural(p.Size, "connection")
	}
	text := fmt.Sprintf("%s: its flows need %d to run one at a time, and %d to run all at once", size, p.Least, p.AllAtOnce)
	if len(p.Counted) > 0 {
		text += " (" + strings.Join(p.Counted, "; ") + ")"
	}
	return text
}

// Short reports whether the pool is too small for all flows at once, so that some wait.
func (p *PoolNeed) Short() bool { return p.Size > 0 && p.Size < p.AllAtOnce }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
