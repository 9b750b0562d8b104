package lease_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/lease"
)

var (
	errLost      = errors.New("lost")
	errCancelled = errors.New("cancelled")
)

// holder keeps the causes with which it was interrupted.
type holder struct {
	mu      sync.Mutex // guards causes
	causes  []error
	leaving atomic.Bool
}

func (h *holder) Interrupt(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.causes = append(h.causes, cause)
}

func (h *holder) Leaving() bool { return h.leaving.Load() }

func (h *holder) interruptions() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.causes
}

// database answers renewals, and counts them.
type database struct {
	mu     sync.Mutex // guards what follows
	asked  [][]lease.Ref
	answer func(refs []lease.Ref) ([]lease.Status, error)
}

func (d *database) Renew(_ context.Context, refs []lease.Ref) ([]lease.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, refs)
	if d.answer == nil {
		return nil, nil
	}
	return d.answer(refs)
}

func (d *database) renewals() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

// last is what was asked for last.
func (d *database) last() []lease.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[len(d.asked)-1]
}

func (d *database) answers(fn func(refs []lease.Ref) ([]lease.Status, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = fn
}

func keeper(d *database, notes ...func(err error)) *lease.Keeper[*holder] {
	return lease.NewKeeper[*holder](lease.Config{
		Renew: d.Renew, Every: time.Second, Timeout: time.Second, Lost: errLost, Cancelled: errCancelled, Note: func(_ context.Context, err error) {
			for _, note := range notes {
				note(err)
			}
		},
	})
}

// One loop renews all leases with one call, ends when there are none, and begins again.
func TestKeeper_Renews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		k := keeper(d)
		first := k.Hold(t.Context(), lease.Ref{RunID: 1, LeaseNumber: 5}, &holder{})
		second := k.Hold(t.Context(), lease.Ref{RunID: 2, LeaseNumber: 1}, &holder{})
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 3, d.renewals())
		require.ElementsMatch(t, []lease.Ref{{RunID: 1, LeaseNumber: 5}, {RunID: 2, LeaseNumber: 1}}, d.last())
		first()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []lease.Ref{{RunID: 2, LeaseNumber: 1}}, d.last())
		second()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 4, d.renewals(), "nothing is left to renew")
		third := k.Hold(t.Context(), lease.Ref{RunID: 3, LeaseNumber: 1}, &holder{})
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, 5, d.renewals())
		third()
		time.Sleep(time.Second) // the loop ends
	})
}

func TestKeeper_Interrupts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &database{answer: func([]lease.Ref) ([]lease.Status, error) {
			return []lease.Status{{RunID: 1}, {RunID: 2, Held: true, CancelRequested: true}, {RunID: 3, Held: true}, {RunID: 4}, {RunID: 99}}, nil
		}}
		k := keeper(d)
		holders := make([]*holder, 5)
		for i := 1; i < 5; i++ {
			holders[i] = &holder{}
			k.Hold(t.Context(), lease.Ref{RunID: int64(i), LeaseNumber: 7}, holders[i])
		}
		holders[4].leaving.Store(true)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, []error{errLost}, holders[1].interruptions())
		require.Equal(t, []error{errCancelled}, holders[2].interruptions())
		require.Empty(t, holders[3].interruptions())
		require.Empty(t, holders[4].interruptions(), "it hears of the commit that gives its lease away")
		k.Interrupt(lease.Ref{RunID: 4, LeaseNumber: 7}, errCancelled)
		require.Equal(t, []error{errCancelled}, holders[4].interruptions(), "only of a lost lease it is not told")
		k.Interrupt(lease.Ref{RunID: 3, LeaseNumber: 6}, errLost)
		k.Interrupt(lease.Ref{RunID: 8, LeaseNumber: 7}, errLost)
		require.Empty(t, holders[3].interruptions(), "that was an earlier claim")
		for i := 1; i < 5; i++ {
			k.Drop(lease.Ref{RunID: int64(i), LeaseNumber: 7})
		}
		time.Sleep(time.Second) // the loop ends
	})
}

// The answer to a renewal that was asked for before a run was claimed again is not about the
// new claim.
func TestKeeper_ClaimedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &database{}
		k := keeper(d)
		old, again := &holder{}, &holder{}
		release := k.Hold(t.Context(), lease.Ref{RunID: 1, LeaseNumber: 1}, old)
		d.answers(func([]lease.Ref) ([]lease.Status, error) {
			k.Hold(t.Context(), lease.Ref{RunID: 1, LeaseNumber: 2}, again)
			return []lease.Status{{RunID: 1}}, nil
		})
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		require.Empty(t, again.interruptions())
		release()
		require.True(t, k.Holds(lease.Ref{RunID: 1, LeaseNumber: 2}), "the old attempt's end does not drop the new lease")
		require.False(t, k.Holds(lease.Ref{RunID: 1, LeaseNumber: 1}))
		require.Equal(t, []*holder{again}, k.Holders())
		d.answers(nil)
		k.Drop(lease.Ref{RunID: 1, LeaseNumber: 2})
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func TestKeeper_RenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var noted []error
		away := errors.New("the database is away")
		d := &database{answer: func([]lease.Ref) ([]lease.Status, error) { return nil, away }}
		k := keeper(d, func(err error) { noted = append(noted, err) })
		h := &holder{}
		release := k.Hold(t.Context(), lease.Ref{RunID: 1, LeaseNumber: 1}, h)
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		d.answers(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []error{away, away, nil}, noted)
		require.Empty(t, h.interruptions(), "nobody knows that the lease is lost")
		release()
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func TestKeeper_Isolate(t *testing.T) {
	t.Parallel()
	k := keeper(&database{})
	require.True(t, k.Isolate(1))
	require.False(t, k.Isolate(2))
	require.EqualValues(t, 1, k.Isolated())
	require.False(t, k.Isolate(1), "twice at once neither")
	k.Release(2)
	require.False(t, k.Isolate(2))
	k.Release(1)
	require.True(t, k.Isolate(2))
}
