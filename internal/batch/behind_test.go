package batch_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

type behind = batch.Behind[string, int]

// answered waits for release, and answers.
func answered(release <-chan struct{}, answer int, err error) func() (int, error) {
	return func() (int, error) {
		<-release
		return answer, err
	}
}

func requireNothingInFlight(t *testing.T, b *behind) {
	t.Helper()
	step, is := b.InFlight()
	require.False(t, is)
	require.Empty(t, step)
	require.Nil(t, b.Done())
	require.True(t, b.Wait(0))
	step, answer, was, err := b.Settle()
	require.NoError(t, err)
	require.False(t, was)
	require.Empty(t, step)
	require.Zero(t, answer)
}

func requireSettled(t *testing.T, b *behind, step string, answer int, want error) {
	t.Helper()
	gotStep, gotAnswer, was, err := b.Settle()
	require.True(t, was)
	require.Equal(t, step, gotStep)
	require.Equal(t, answer, gotAnswer)
	require.Equal(t, want, err)
}

func TestBehind_NothingInFlight(t *testing.T) {
	t.Parallel()
	requireNothingInFlight(t, &behind{})
}

// A step stays in flight until it is settled, also after its answer.
func TestBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b behind
		for i, step := range []string{"first", "second", "third"} {
			release := make(chan struct{})
			b.Send(step, answered(release, i, nil))
			synctest.Wait()
			inFlight, is := b.InFlight()
			require.True(t, is)
			require.Equal(t, step, inFlight)
			select {
			case <-b.Done():
				require.Fail(t, "done before the answer")
			default:
			}
			close(release)
			<-b.Done()
			_, is = b.InFlight()
			require.True(t, is)
			requireSettled(t, &b, step, i, nil)
			requireNothingInFlight(t, &b)
		}
	})
}

func TestBehind_Settle_Waits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b behind
		release := make(chan struct{})
		b.Send("step", answered(release, 7, nil))
		settled := make(chan int, 1)
		go func() {
			_, answer, _, _ := b.Settle()
			settled <- answer
		}()
		synctest.Wait()
		select {
		case <-settled:
			require.Fail(t, "settled before the answer")
		default:
		}
		close(release)
		require.Equal(t, 7, <-settled)
		requireNothingInFlight(t, &b)
	})
}

func TestBehind_Error(t *testing.T) {
	t.Parallel()
	var b behind
	boom := errors.New("boom")
	b.Send("step", func() (int, error) { return 7, boom })
	require.True(t, b.Wait(time.Minute))
	requireSettled(t, &b, "step", 7, boom)
	requireNothingInFlight(t, &b)
}

// A panic of the answer is an error of the step, and the next can be sent.
func TestBehind_Panic(t *testing.T) {
	t.Parallel()
	var b behind
	b.Send("step", func() (int, error) { panic("boom") })
	<-b.Done()
	step, answer, was, err := b.Settle()
	require.True(t, was)
	require.Equal(t, "step", step)
	require.Zero(t, answer)
	var p *batch.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "boom", p.Value)
	require.Contains(t, p.Stack, "TestBehind_Panic")
	require.EqualError(t, err, "panic: boom")
	b.Send("next", func() (int, error) { return 8, nil })
	requireSettled(t, &b, "next", 8, nil)
}

// A wait that has come to its end leaves the step in flight.
func TestBehind_Wait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b behind
		release := make(chan struct{})
		b.Send("step", answered(release, 7, nil))
		began := time.Now()
		require.False(t, b.Wait(2*time.Second))
		require.Equal(t, 2*time.Second, time.Since(began))
		_, is := b.InFlight()
		require.True(t, is)
		go func() {
			<-time.After(time.Second)
			close(release)
		}()
		require.True(t, b.Wait(2*time.Second))
		require.Equal(t, 3*time.Second, time.Since(began), "no longer than for the answer")
		requireSettled(t, &b, "step", 7, nil)
	})
}

func TestAwaitPredecessor(t *testing.T) {
	t.Parallel()
	require.NoError(t, batch.AwaitPredecessor(t.Context()))
	slow, waits := errors.New("slow"), 0
	ctx := batch.WithPredecessor(t.Context(), func() error { waits++; return slow })
	require.ErrorIs(t, batch.AwaitPredecessor(ctx), slow)
	require.Equal(t, 1, waits)
}
