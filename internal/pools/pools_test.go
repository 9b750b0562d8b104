package pools_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/pools"
)

// streams returns the need of a run that holds a connection of the client's pool.
func streams(size int) []pools.Need {
	return []pools.Need{{Pool: "p", Size: size, Held: 1, Spare: 2}}
}

func TestLedger_Enter(t *testing.T) {
	t.Parallel()
	for size, atOnce := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 10: 8} {
		l := &pools.Ledger{}
		var leave []func()
		for range atOnce {
			out, full := l.Enter(streams(size))
			require.Nil(t, full)
			leave = append(leave, out)
		}
		_, full := l.Enter(streams(size))
		require.Equal(t, &pools.Full{Need: streams(size)[0], Taken: atOnce}, full)
		if atOnce > 0 && size != 3 { // a pool of three serves no more than one of two
			require.Equal(t, size, pools.Enough(atOnce, 2))
		}
		require.Equal(t, full, l.Lacks(streams(size)))
		if atOnce == 0 {
			continue
		}
		freed := l.Freed()
		leave[0]()
		leave[0]() // which changes nothing
		<-freed
		_, full = l.Enter(streams(size))
		require.Nil(t, full)
	}
}

// A pool that nobody borrows from may be held to its last connection.
func TestLedger_NothingToSpare(t *testing.T) {
	t.Parallel()
	l := &pools.Ledger{}
	whole := []pools.Need{{Pool: "p", Size: 2, Held: 1}}
	page := []pools.Need{{Pool: "p", Size: 2, Spare: 1}}
	_, full := l.Enter(whole)
	require.Nil(t, full)
	leave, full := l.Enter(page)
	require.Nil(t, full)
	_, full = l.Enter(whole)
	require.NotNil(t, full, "somebody borrows now")
	leave()
	_, full = l.Enter(whole)
	require.Nil(t, full)
	_, full = l.Enter(page)
	require.Equal(t, 2, full.Taken)
	_, full = l.Enter([]pools.Need{{Pool: "q", Size: 0, Held: 100, Spare: 1}})
	require.Nil(t, full, "a pool without a limit is never full")
}

// A run takes all that it needs or nothing.
func TestLedger_AllOrNothing(t *testing.T) {
	t.Parallel()
	l := &pools.Ledger{}
	a, b := pools.Need{Pool: "a", Size: 1, Held: 1}, pools.Need{Pool: "b", Size: 1, Held: 1}
	leave, full := l.Enter([]pools.Need{b})
	require.Nil(t, full)
	_, full = l.Enter([]pools.Need{a, b})
	require.Equal(t, "b", full.Pool)
	require.Nil(t, l.Lacks([]pools.Need{a}))
	leave()
	_, full = l.Enter([]pools.Need{a, b})
	require.Nil(t, full)
}

func TestLedger_Begin(t *testing.T) {
	t.Parallel()
	l := &pools.Ledger{}
	leave, full := l.Enter(streams(4))
	require.Nil(t, full)
	var ends []func()
	for range 2 { // one is held, and one is left
		end, err := l.Begin(t.Context(), "p", 4)
		require.NoError(t, err)
		ends = append(ends, end)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Begin(done, "p", 4)
	require.ErrorIs(t, err, context.Canceled)

	turn := make(chan func())
	go func() {
		end, _ := l.Begin(t.Context(), "p", 4)
		turn <- end
	}()
	leave()
	ends = append(ends, <-turn)
	for _, end := range ends {
		end()
	}
	end, err := l.Begin(t.Context(), "one", 1)
	require.NoError(t, err, "one transaction may always begin")
	end()
}

// TestLedger_Many has many transactions take turns. Never are more open than a connection less
// than the pool has.
func TestLedger_Many(t *testing.T) {
	t.Parallel()
	l := &pools.Ledger{}
	var open, most atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 200 {
				end, err := l.Begin(t.Context(), "p", 4)
				if err != nil {
					return
				}
				if n := open.Add(1); n > most.Load() {
					most.Store(n)
				}
				open.Add(-1)
				end()
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(3))
	_, full := l.Enter([]pools.Need{{Pool: "p", Size: 1, Held: 1}})
	require.Nil(t, full, "nothing is left behind")
}

// A run that is alone enters a pool of the least size, and of no smaller one.
func TestNeed_Least(t *testing.T) {
	t.Parallel()
	for held := 1; held <= 5; held++ {
		for spare := 1; spare <= 3; spare++ { // with size 0, a pool has no limit
			n := pools.Need{Pool: "p", Held: held, Spare: spare}
			enters := func(size int) bool {
				n.Size = size
				leave, full := (&pools.Ledger{}).Enter([]pools.Need{n})
				if full == nil {
					leave()
				}
				return full == nil
			}
			require.True(t, enters(n.Least()), "%+v", n)
			require.False(t, enters(n.Least()-1), "%+v", n)
		}
	}
}
