package enginetest_test

import (
	"context"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// namedOrders yields records with keys of its own, which end with a number.
type namedOrders struct{}

func (namedOrders) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for i, key := range []string{"A", "order #1001", "user record 5"} {
			if !yield(dataflow.Item[int, int]{Value: i + 1, Key: key, Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// A key that ends with a number names its record. So a later read of the record keeps no second
// dead letter, and one that is good resolves it.
func TestDeadLetter_KeyWithNumber(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		bad := map[int]bool{1: true, 2: true, 3: true}
		client := t.registered(dataflow.NewFlow("f", namedOrders{}, badNumbers(bad), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}))
		read := func() {
			_, err := client.Backfill(t.Context(), "f", nil)
			require.NoError(t, err)
			_, err = client.Tick(t.Context())
			require.NoError(t, err)
		}
		read()
		read()
		require.Len(t, t.letters(client, &dataflow.DeadLetterListParams{Open: true}), 3)
		clear(bad)
		read()
		require.Empty(t, t.letters(client, &dataflow.DeadLetterListParams{Open: true}))
	})
}
