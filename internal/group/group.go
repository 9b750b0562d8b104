// Package group lets calls that happen at about the same time travel together: one statement
// for many. It knows nothing of flows and of databases.
package group

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Group sends questions of type Q together, and hands each its answer of type A. While one
// group is on its way, the next one collects. So a lone question waits for nothing, and the
// groups grow with the load. A large one goes beside the one on its way. After groups of several, the next one
// waits for others, but never longer than Linger. A Group is safe for concurrent use.
type Group[Q, A any] struct {
	Config

	send func(ctx context.Context, questions []Q) ([]A, error)

	mu      sync.Mutex // guards what follows
	told    bool       // one of waiting has been told to send the next group
	flying  int        // groups that are on their way
	waiting []*call[Q, A]
	recent  int           // how many the groups before had; it is forgotten by halves
	wanted  int           // how many are to close enough
	enough  chan struct{} // nil: nobody waits for others
}

// Config are the settings of a group. All of them but Beside are needed.
type Config struct {
	Most    int           // how many questions a group has at most
	Beside  int           // how many a group needs to go beside another one; 0: none goes
	Linger  time.Duration // how long a group waits for others at most
	Timeout time.Duration // how long an answer takes at most
	// Askers returns how many may be going to ask, those who have asked already included. Nobody
	// waits for more. When there are fewer, [Group.Fewer] says so.
	Askers func() int
}

// call is a question on its way.
type call[Q, A any] struct {
	question Q
	turn     chan struct{} // receives once if this call is to send the next group
	done     chan struct{} // closed when the answer is there
	answer   A
	err      error
}

// New returns a group. send answers questions in their order; its error is that of each of
// them.
func New[Q, A any](config Config, send func(ctx context.Context, questions []Q) ([]A, error)) *Group[Q, A] {
	return &Group[Q, A]{Config: config, send: send}
}

// Do returns the answer to a question. If ctx ends before the question is sent, it returns
// ctx's error, and the question is not sent. After that it waits for the answer, whatever
// becomes of ctx, because the answer may have to be undone.
func (g *Group[Q, A]) Do(ctx context.Context, question Q) (A, error) {
	c := &call[Q, A]{question: question, turn: make(chan struct{}, 1), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	g.tell()
	g.sendIfEnough()
	g.mu.Unlock()
	select {
	case <-c.done:
	case <-c.turn:
		g.sendNext(ctx)
	case <-ctx.Done():
		if g.withdraw(c) {
			return c.answer, ctx.Err()
		}
		<-c.done
	}
	return c.answer, c.err
}

// Fewer says that there are fewer who may ask, so that no group waits for those who do not.
func (g *Group[Q, A]) Fewer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.enough != nil {
		g.wanted = min(g.wanted, g.Askers())
		g.sendIfEnough()
	}
}

// sendIfEnough ends the wait for others once all of them have asked. The caller holds g.mu.
func (g *Group[Q, A]) sendIfEnough() {
	if g.enough != nil && len(g.waiting) >= g.wanted {
		close(g.enough)
		g.enough = nil
	}
}

// withdraw takes back a question that was not sent. It reports false if it was.
func (g *Group[Q, A]) withdraw(c *call[Q, A]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, c)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	select {
	case <-c.turn: // another must send in its place
		g.told = false
		g.tell()
	default:
	}
	return true
}

// tell lets the first of those who wait send the next group, if it may go now. The caller holds g.mu.
func (g *Group[Q, A]) tell() {
	beside := g.flying == 1 && g.Beside > 0 && len(g.waiting) >= g.Beside
	if len(g.waiting) > 0 && !g.told && (g.flying == 0 || beside) {
		g.told = true
		g.waiting[0].turn <- struct{}{}
	}
}

// collect lets others join the group that is about to be sent.
func (g *Group[Q, A]) collect() {
	runtime.Gosched() // goroutines that are about to ask do so first
	g.mu.Lock()
	wanted := min(g.Askers(), g.Most)
	if g.recent <= 1 || len(g.waiting) >= wanted || g.flying > 0 { // those on their way do not ask
		g.mu.Unlock()
		return
	}
	enough := make(chan struct{})
	g.wanted, g.enough = wanted, enough
	g.mu.Unlock()
	timer := time.NewTimer(g.Linger)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.enough = nil
	}
}

// sendNext sends the questions that wait, that of the caller among them.
func (g *Group[Q, A]) sendNext(ctx context.Context) {
	g.collect()
	g.mu.Lock()
	n := min(len(g.waiting), g.Most)
	g.recent = max(n, g.recent/2)
	calls := g.waiting[:n:n]
	g.waiting = slices.Clone(g.waiting[n:])
	g.told = false
	g.flying++
	g.tell()
	g.mu.Unlock()
	questions := make([]Q, n)
	for i, one := range calls {
		questions[i] = one.question
	}
	err := fmt.Errorf("panic while %d questions were answered", n) // unless send returns
	var answers []A
	defer func() {
		for i, one := range calls {
			if one.err = err; err == nil {
				one.answer = answers[i]
			}
			close(one.done)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.flying--
		g.tell()
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timeout)
	defer cancel()
	answers, err = g.send(ctx, questions)
	if err == nil && len(answers) != n {
		err = fmt.Errorf("%d answers to %d questions", len(answers), n)
	}
}
