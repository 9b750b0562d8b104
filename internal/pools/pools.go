// Package pools counts the connections that runs hold, for each pool of this process. So runs
// that each hold one connection and wait for another cannot stop each other:
//
//   - A run enters with all the connections that it holds until its end, or not at all.
//   - Whoever borrows a connection for a moment finds one that no run holds.
//   - A transaction begins only if a connection is left beside it, for what is done during it.
//
// The counts belong to the process and not to a client, because several clients may share a
// pool. It knows nothing of flows and of databases.
package pools

import (
	"context"
	"sync"
)

// Need is what a run needs of one pool.
type Need struct {
	// Pool is the pool itself: equal for the same pool. Size is how many connections it has
	// at most. 0: no limit.
	Pool any
	Size int
	// Held is how many connections the run holds from its beginning to its end.
	Held int
	// Spare is how many connections should be left for those that borrow one for a moment:
	// the run itself, other runs, the client. A pool of one or two has one to spare at most.
	Spare int
}

// Least is how many connections the pool must have for the run, even if it is alone.
func (n Need) Least() int { return Enough(n.Held, n.Spare) }

// spareOf is how many connections of a pool runs must not hold.
func spareOf(size, spare int) int { return min(spare, max(1, size-1)) }

// Enough is the least size of a pool that lets runs hold so many connections at once.
func Enough(held, spare int) int {
	if held == 0 {
		return min(spare, 1)
	}
	size := held
	for size-spareOf(size, spare) < held {
		size++
	}
	return size
}

// Full says which pool has no room for a run.
type Full struct {
	Need
	// Taken is how many connections other runs hold.
	Taken int
}

// pool counts what is in use of one pool.
type pool struct {
	size         int
	held         int
	spares       map[int]int // how many runs want so many spare connections
	transactions int
	waiting      []chan struct{} // for a transaction, the first one first
}

func (p *pool) empty() bool {
	return p.held == 0 && p.transactions == 0 && len(p.spares) == 0 && len(p.waiting) == 0
}

// mostSpare is the most that any run wants to be spared, n among them.
func (p *pool) mostSpare(n int) int {
	for spare := range p.spares {
		n = max(n, spare)
	}
	return n
}

// admits reports whether a run may enter.
func (p *pool) admits(n Need) bool {
	if n.Held == 0 {
		return n.Spare == 0 || p.held < n.Size
	}
	return p.held+n.Held+spareOf(n.Size, p.mostSpare(n.Spare)) <= n.Size
}

// mayBegin reports whether a transaction may begin. One may always.
func (p *pool) mayBegin() bool {
	return p.transactions == 0 || p.held+p.transactions+1 < p.size
}

// letBegin lets waiting transactions begin.
func (p *pool) letBegin() {
	for len(p.waiting) > 0 && p.mayBegin() {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.transactions++
	}
}

// Ledger counts the connections in use. The zero value is ready.
type Ledger struct {
	mu    sync.Mutex // guards what follows
	pools map[any]*pool
	freed chan struct{} // closed when a run has left; nil: nobody has asked
}

// Process is the ledger of this process. A pool is in it only while it is in use.
var Process = &Ledger{} //nolint:gochecknoglobals // a pool belongs to the process: its clients must count together

// of returns the counts of a pool. The caller holds mu, and calls forget afterwards.
func (l *Ledger) of(key any, size int) *pool {
	p := l.pools[key]
	if p == nil {
		if l.pools == nil {
			l.pools = make(map[any]*pool)
		}
		p = &pool{spares: make(map[int]int)}
		l.pools[key] = p
	}
	p.size = size
	return p
}

func (l *Ledger) forget(key any) {
	if p := l.pools[key]; p != nil && p.empty() {
		delete(l.pools, key)
	}
}

// Enter takes all connections that a run holds, or none. leave gives them back, and must be
// called once. The needs are of different pools.
func (l *Ledger) Enter(needs []Need) (leave func(), full *Full) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if full := l.lacking(needs); full != nil {
		return nil, full
	}
	for _, n := range needs {
		if n.Size > 0 {
			p := l.of(n.Pool, n.Size)
			p.held += n.Held
			p.spares[n.Spare]++
		}
	}
	return sync.OnceFunc(func() { l.leave(needs) }), nil
}

// Lacks returns which pool has no room for a run, or nil if all have.
func (l *Ledger) Lacks(needs []Need) *Full {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lacking(needs)
}

func (l *Ledger) lacking(needs []Need) *Full {
	for _, n := range needs {
		if n.Size == 0 {
			continue
		}
		p := l.pools[n.Pool]
		if p == nil {
			p = &pool{}
		}
		if !p.admits(n) {
			return &Full{Need: n, Taken: p.held}
		}
	}
	return nil
}

func (l *Ledger) leave(needs []Need) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range needs {
		if n.Size == 0 {
			continue
		}
		p := l.of(n.Pool, n.Size)
		p.held -= n.Held
		if p.spares[n.Spare]--; p.spares[n.Spare] == 0 {
			delete(p.spares, n.Spare)
		}
		p.letBegin()
		l.forget(n.Pool)
	}
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// Freed returns a channel that is closed when the next run has left. Ask for it before Lacks,
// so that no run leaves in between unnoticed.
func (l *Ledger) Freed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.freed == nil {
		l.freed = make(chan struct{})
	}
	return l.freed
}

// Begin waits until a transaction may begin that leaves a connection of the pool free. Those
// that wait longest go first. end must be called once. The error is ctx's.
func (l *Ledger) Begin(ctx context.Context, key any, size int) (end func(), err error) {
	l.mu.Lock()
	p := l.of(key, size)
	if len(p.waiting) == 0 && p.mayBegin() {
		p.transactions++
		l.mu.Unlock()
		return func() { l.end(key) }, nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return func() { l.end(key) }, nil
	case <-ctx.Done():
		l.giveUp(key, turn)
		return nil, ctx.Err()
	}
}

func (l *Ledger) end(key any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pools[key]
	p.transactions--
	p.letBegin()
	l.forget(key)
}

// giveUp ends the wait for a transaction, or the transaction if its turn has just come.
func (l *Ledger) giveUp(key any, turn chan struct{}) {
	l.mu.Lock()
	p := l.pools[key]
	for i, w := range p.waiting {
		if w == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			l.forget(key)
			l.mu.Unlock()
			return
		}
	}
	l.mu.Unlock()
	l.end(key)
}
