package group_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/group"
)

// linger is how long a group waits for others, by the clock of a bubble.
const linger = 3 * time.Millisecond

func config(most int) group.Config {
	return group.Config{Most: most, Linger: linger, Timeout: time.Minute, Askers: func() int { return most }}
}

// server answers each question with its double, when it is told to.
type server struct {
	mu     sync.Mutex // guards groups
	groups [][]int
	goOn   chan error
	always bool // answers at once
}

func (s *server) send(ctx context.Context, questions []int) ([]int, error) {
	s.mu.Lock()
	s.groups = append(s.groups, slices.Clone(questions))
	s.mu.Unlock()
	if !s.always {
		select {
		case err := <-s.goOn:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	answers := make([]int, len(questions))
	for i, q := range questions {
		answers[i] = 2 * q
	}
	return answers, nil
}

func (s *server) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := make([]int, len(s.groups))
	for i, g := range s.groups {
		sizes[i] = len(g)
	}
	return sizes
}

// result is what a call of Do returned.
type result struct {
	answer int
	err    error
	done   bool
}

func ask(ctx context.Context, g *group.Group[int, int], question int) *result {
	r := &result{}
	go func() {
		answer, err := g.Do(ctx, question)
		*r = result{answer: answer, err: err, done: true}
	}()
	synctest.Wait()
	return r
}

// A lone question goes at once. Those that come meanwhile go together, and at most so many.
func TestGroup_Together(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{goOn: make(chan error)}
		g := group.New(config(4), s.send)
		var results []*result
		for i := range 8 {
			results = append(results, ask(t.Context(), g, i))
			require.Equal(t, []int{1}, s.sizes())
		}
		for i, want := range [][]int{{1, 4}, {1, 4, 3}} {
			s.goOn <- nil
			time.Sleep(linger)
			synctest.Wait()
			require.Equal(t, want, s.sizes())
			require.True(t, results[4*i].done)
			require.False(t, results[4*i+1].done)
		}
		s.goOn <- nil
		synctest.Wait()
		for i, r := range results {
			require.Equal(t, result{answer: 2 * i, done: true}, *r)
		}
		last := ask(t.Context(), g, 100)
		time.Sleep(linger)
		s.goOn <- nil
		synctest.Wait()
		require.Equal(t, result{answer: 200, done: true}, *last, "an idle group begins again")
	})
}

// A group that is large enough goes beside the one on its way, and no third one does.
func TestGroup_Beside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{goOn: make(chan error)}
		beside := config(10)
		beside.Beside = 3
		g := group.New(beside, s.send)
		for i, want := range [][]int{{1}, {1}, {1}, {1, 3}, {1, 3}, {1, 3}, {1, 3}, {1, 3}} {
			ask(t.Context(), g, i)
			require.Equal(t, want, s.sizes())
		}
		s.goOn <- nil
		synctest.Wait()
		require.Equal(t, []int{1, 3, 4}, s.sizes(), "it waits for none of those on their way")
		s.goOn <- nil
		last := ask(t.Context(), g, 8)
		require.Equal(t, []int{1, 3, 4}, s.sizes(), "it is too small")
		s.goOn <- nil
		time.Sleep(linger)
		s.goOn <- nil
		synctest.Wait()
		require.Equal(t, result{answer: 16, done: true}, *last)
	})
}

// A question that was told to send a group beside another one may be withdrawn just then. The others are sent.
func TestGroup_BesideWithdrawn(t *testing.T) {
	t.Parallel()
	for range 100 { // whether the question is told before it is withdrawn, or after it, is up to the scheduler
		synctest.Test(t, func(t *testing.T) {
			s := &server{goOn: make(chan error)}
			beside := config(10)
			beside.Beside, beside.Askers = 2, func() int { return 0 }
			g := group.New(beside, s.send)
			results := []*result{ask(t.Context(), g, 0)}
			ctx, cancel := context.WithCancel(t.Context())
			ask(ctx, g, 1)
			cancel()
			for i := 2; i < 5; i++ {
				results = append(results, ask(t.Context(), g, i))
			}
			for slices.ContainsFunc(results, func(r *result) bool { return !r.done }) {
				select {
				case s.goOn <- nil:
				case <-time.After(time.Second):
					t.Fatalf("a question waits that nobody sends; sent were %v", s.sizes())
				}
				synctest.Wait()
			}
		})
	}
}

// After a group of several, the next one waits for all who may ask, but no longer than it may.
// After lone questions, the next one waits for nobody.
func TestGroup_Lingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{always: true}
		askers := config(10)
		askers.Askers = func() int { return 3 }
		g := group.New(askers, func(ctx context.Context, questions []int) ([]int, error) {
			time.Sleep(time.Second) // meanwhile, others ask
			return s.send(ctx, questions)
		})
		for i := range 4 {
			ask(t.Context(), g, i)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{1, 3}, s.sizes())

		first, second := ask(t.Context(), g, 4), ask(t.Context(), g, 5)
		third := ask(t.Context(), g, 6)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{1, 3, 3}, s.sizes(), "it was sent when all had asked")
		require.True(t, first.done && second.done && third.done)

		for _, wait := range []time.Duration{linger, 0} { // the group of three is forgotten by halves
			began := time.Now()
			_, err := g.Do(t.Context(), 7)
			require.NoError(t, err)
			require.Equal(t, time.Second+wait, time.Since(began))
		}
	})
}

// A group that waits for others is sent as soon as all who may still ask have asked.
func TestGroup_Fewer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{always: true}
		askers := config(10)
		var may atomic.Int64
		may.Store(4)
		askers.Askers = func() int { return int(may.Load()) }
		g := group.New(askers, func(ctx context.Context, questions []int) ([]int, error) {
			time.Sleep(time.Second) // meanwhile, others ask
			return s.send(ctx, questions)
		})
		fewer := func() {
			may.Add(-1)
			g.Fewer()
			synctest.Wait()
		}
		ask(t.Context(), g, 0)
		ask(t.Context(), g, 1)
		ask(t.Context(), g, 2)
		time.Sleep(2*time.Second + linger)
		synctest.Wait()
		require.Equal(t, []int{1, 2}, s.sizes())

		began := time.Now()
		first, second := ask(t.Context(), g, 3), ask(t.Context(), g, 4)
		fewer()
		fewer()
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, first.done && second.done, "nobody else was going to ask")
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, []int{1, 2, 2}, s.sizes())
		fewer() // nobody waits
	})
}

// A caller who gives up harms nobody: before its question is sent, it is taken back. After
// that, the caller gets the answer all the same.
func TestGroup_GivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{goOn: make(chan error)}
		g := group.New(config(10), s.send)
		ctx, cancel := context.WithCancel(t.Context())
		sent := ask(ctx, g, 1)
		waits, other := ask(ctx, g, 2), ask(t.Context(), g, 3)
		cancel()
		synctest.Wait()
		require.Equal(t, result{err: context.Canceled, done: true}, *waits)
		require.False(t, sent.done, "its answer is on the way")
		s.goOn <- nil
		synctest.Wait()
		require.Equal(t, result{answer: 2, done: true}, *sent)
		s.goOn <- nil
		synctest.Wait()
		require.Equal(t, result{answer: 6, done: true}, *other)
		require.Equal(t, [][]int{{1}, {3}}, s.groups)
	})
}

// An error is that of every question of the group, and of no other.
func TestGroup_Error(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{goOn: make(chan error)}
		g := group.New(config(10), s.send)
		first, second, third := ask(t.Context(), g, 1), ask(t.Context(), g, 2), ask(t.Context(), g, 3)
		boom := errors.New("boom")
		s.goOn <- nil
		s.goOn <- boom
		synctest.Wait()
		require.Equal(t, result{answer: 2, done: true}, *first)
		require.Equal(t, result{err: boom, done: true}, *second)
		require.Equal(t, result{err: boom, done: true}, *third)
		slow := ask(t.Context(), g, 4)
		time.Sleep(time.Minute + linger)
		synctest.Wait()
		require.Equal(t, result{err: context.DeadlineExceeded, done: true}, *slow)
	})
}

// A send that panics, or answers too little, is an error for all, and the group goes on.
func TestGroup_Broken(t *testing.T) {
	t.Parallel()
	broken := true
	g := group.New(config(10), func(_ context.Context, questions []int) ([]int, error) {
		if broken {
			panic("boom")
		}
		return questions[:0], nil
	})
	require.PanicsWithValue(t, "boom", func() { _, _ = g.Do(t.Context(), 1) })
	broken = false
	_, err := g.Do(t.Context(), 1)
	require.EqualError(t, err, "0 answers to 1 questions")
}

// Whatever comes together, each caller gets its own answer, or its own error.
func TestGroup_Race(t *testing.T) {
	t.Parallel()
	s := &server{always: true}
	g := group.New(config(7), s.send)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%3 == 0 {
					go cancel()
				}
				answer, err := g.Do(ctx, i*100+j)
				if err == nil && answer != 2*(i*100+j) || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("question %d: answer %d, error %v", i*100+j, answer, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	for _, n := range s.sizes() {
		require.LessOrEqual(t, n, 7)
	}
}
