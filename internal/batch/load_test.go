package batch_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/batch"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l batch.Load
		l.Add(batch.MaxLoad)
		require.True(t, l.Wait(t.Context()), "it is not above the bound")
		l.Add(7)
		l.Add(3)
		waited := make(chan bool)
		go func() { waited <- l.Wait(t.Context()) }()
		synctest.Wait()
		l.Remove(3)
		synctest.Wait()
		select {
		case <-waited:
			t.Fatal("it is above the bound by 7")
		default:
		}
		l.Remove(7)
		require.True(t, <-waited)
	})
}

func TestLoad_Done(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var l batch.Load
	require.True(t, l.Wait(ctx))
	l.Add(batch.MaxLoad + 1)
	require.False(t, l.Wait(ctx))
	var none *batch.Load
	none.Add(batch.MaxLoad + 1)
	none.Remove(1)
	require.True(t, none.Wait(ctx))
}
