package connectortest_test

import (
	"context"
	"encoding/json"
	"iter"
	"sync"
	"testing"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

// words is a user's own source. Its cursor is the number of words read.
type words []string

func (w words) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[string, int], error] {
	return func(yield func(dataflow.Item[string, int], error) bool) {
		for i := r.From; i < len(w) || ctx.Err() != nil; i++ {
			if err := ctx.Err(); err != nil {
				yield(dataflow.Item[string, int]{}, err)
				return
			}
			if !yield(dataflow.Item[string, int]{Value: w[i], Cursor: i + 1, Resume: true}, nil) {
				return
			}
		}
	}
}

// The test of a user's own source needs no more than this.
func TestSource_Words(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, connectortest.SourceConfig[string, int]{
		Make: func(_ *testing.T, rows []string) dataflow.Source[string, int] { return words(rows) },
		Rows: numbered,
	})
}

func numbered(n int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = "word " + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	return rows
}

// letters is a user's own sink. It recognises a batch by its ID.
type letters struct {
	ids  []string
	rows []string
}

func (l *letters) Write(ctx context.Context, b dataflow.SinkBatch[string]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, id := range l.ids {
		if id == b.ID {
			return nil
		}
	}
	l.ids, l.rows = append(l.ids, b.ID), append(l.rows, b.Rows...)
	return nil
}

func TestSink_Letters(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[string], string]{
		Make: func(*testing.T) (dataflow.Sink[string], func() []string) {
			l := &letters{}
			return l, func() []string { return l.rows }
		},
		Rows: numbered,
	})
}

// chest holds rows and checkpoints, and stands for another database.
type chest struct {
	mu     sync.Mutex
	fences map[string]int64
	states map[string]json.RawMessage
	rows   []string
}

func newChest() *chest {
	return &chest{fences: map[string]int64{}, states: map[string]json.RawMessage{}}
}

func (c *chest) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fence < c.fences[flow] {
		return nil, dataflow.ErrFenced
	}
	c.fences[flow] = fence
	return c.states[flow], ctx.Err()
}

func (c *chest) WriteFenced(ctx context.Context, b dataflow.FencedBatch[string]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case b.Fence != c.fences[b.Flow]:
		return dataflow.ErrFenced
	}
	c.states[b.Flow], c.rows = b.State, append(c.rows, b.Rows...)
	return nil
}

// opened is a chest as seen by another process.
type opened struct{ *chest }

func TestFencedSink_Chest(t *testing.T) {
	t.Parallel()
	connectortest.TestFencedSink(t, connectortest.SinkConfig[dataflow.FencedSink[string], string]{
		Make: func(*testing.T) (dataflow.FencedSink[string], func() []string) {
			c := newChest()
			return opened{c}, func() []string { return c.rows }
		},
		Rows:   numbered,
		Reopen: func(_ *testing.T, sink dataflow.FencedSink[string]) dataflow.FencedSink[string] { return sink },
	})
}

// ledger is a sink whose rows appear when their transaction commits.
type ledger struct{ rows []string }

type ledgerTx struct{}

func (*ledger) WriteTx(ctx context.Context, rows []string) error {
	tx, ok := ctx.Value(ledgerTx{}).(*[]string)
	if !ok {
		return dataflow.ErrTxMismatch
	}
	*tx = append(*tx, rows...)
	return ctx.Err()
}

func (l *ledger) inTx(ctx context.Context, f func(context.Context) error) error {
	var rows []string
	if err := f(context.WithValue(ctx, ledgerTx{}, &rows)); err != nil {
		return err
	}
	l.rows = append(l.rows, rows...)
	return nil
}

func TestTxSink_Ledger(t *testing.T) {
	t.Parallel()
	connectortest.TestTxSink(t, connectortest.SinkConfig[dataflow.TxSink[string], string]{
		Make: func(*testing.T) (dataflow.TxSink[string], func() []string) {
			l := &ledger{}
			return l, func() []string { return l.rows }
		},
		Rows: numbered,
		InTx: func(ctx context.Context, sink dataflow.TxSink[string], f func(context.Context) error) error {
			return sink.(*ledger).inTx(ctx, f) //nolint:forcetypeassert // it is of Make
		},
	})
}
