package connectortest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

// brokenSinkEnv names the breach of contract that TestBrokenSink tries.
const brokenSinkEnv = "CONNECTORTEST_BROKEN_SINK"

// sinkBreaches are sinks that break the contract in one way each, with the subtest that detects it and
// what its error says.
var sinkBreaches = map[string]struct{ subtest, says string }{
	"loses the last row":               {"TestBrokenSink/Batches", "word"},
	"reverses the rows":                {"TestBrokenSink/Batches", "word"},
	"takes 500 rows at most":           {"TestBrokenSink/LargeBatch", "word"},
	"hides its failure":                {"TestBrokenSink/Failing", "a write that fails returns an error"},
	"leaves a goroutine":               {"TestBrokenSink/Goroutines", "10 goroutines are still there after 10 writes"},
	"knows batches only in memory":     {"TestBrokenSink/AgainReopened", "word"},
	"fails without rows":               {"TestBrokenSink/EmptyBatch", "a batch of no rows"},
	"keeps the memory of the rows":     {"TestBrokenSink/RowsAreNotKept", "word"},
	"writes though it is cancelled":    {"TestBrokenSink/CancelledBefore", "a write with a cancelled context returns its error"},
	"takes a cancelled batch for done": {"TestBrokenSink/CancelledBefore", "word"},
	"waits though it is cancelled":     {"TestBrokenSink/CancelledWaiting", "the write does not end"},
	"writes a batch twice":             {"TestBrokenSink/Again", "word"},
	"cuts a huge row":                  {"TestBrokenSink/HugeRecord", "a huge record, or one next to it, has changed"},
	"leaves a file open":               {"TestBrokenSink/Batches", "the write has left something open"},
	"forgets its state":                {"TestBrokenFenced/State", "Input"},
	"keeps no state without rows":      {"TestBrokenFenced/State", "cursor"},
	"lets an older claim write":        {"TestBrokenFenced/Fence", "a write under an older claim"},
	"lets an older claim in":           {"TestBrokenFenced/Fence", "an older claim"},
	"stores the state it refuses":      {"TestBrokenFenced/Fence", "the refused write has changed the state"},
	"writes outside the transaction":   {"TestBrokenTx/RolledBack", "word"},
}

// faulty is a sink with one breach.
type faulty struct {
	letters
	name string
	open int
	kept [][]string
}

func (f *faulty) Write(ctx context.Context, b dataflow.SinkBatch[string]) error {
	switch f.name {
	case "loses the last row":
		b.Rows = b.Rows[:max(0, len(b.Rows)-1)]
	case "reverses the rows":
		slices.Reverse(b.Rows)
	case "fails without rows":
		if len(b.Rows) == 0 {
			return os.ErrInvalid
		}
	case "keeps the memory of the rows":
		f.kept = append(f.kept, b.Rows)
		return ctx.Err()
	case "writes though it is cancelled", "waits though it is cancelled":
		ctx = context.WithoutCancel(ctx)
	case "takes a cancelled batch for done":
		if ctx.Err() != nil {
			f.ids = append(f.ids, b.ID)
		}
	case "writes a batch twice":
		b.ID += string(rune('a' + len(f.ids)))
	case "takes 500 rows at most":
		b.Rows = b.Rows[:min(500, len(b.Rows))]
	case "leaves a goroutine":
		go func() { select {} }()
	case "cuts a huge row":
		for i, row := range b.Rows {
			b.Rows[i] = row[:min(len(row), 1<<16)]
		}
	case "leaves a file open":
		f.open++
	}
	return f.letters.Write(ctx, b)
}

func (f *faulty) read() []string { return append(f.rows, slices.Concat(f.kept...)...) }

// waiting waits until its context is done, or for ever.
type waiting struct{ forever bool }

func (w waiting) Write(ctx context.Context, _ dataflow.SinkBatch[string]) error {
	if w.forever {
		select {}
	}
	<-ctx.Done()
	return ctx.Err()
}

// failing is a sink whose store is away.
type failing struct{ hidden bool }

func (f failing) Write(context.Context, dataflow.SinkBatch[string]) error {
	if f.hidden {
		return nil
	}
	return os.ErrClosed
}

// TestBrokenSink, TestBrokenFenced and TestBrokenTx run only in the processes that TestSink_FindsOut starts.
func TestBrokenSink(t *testing.T) {
	t.Parallel()
	name := os.Getenv(brokenSinkEnv)
	if name == "" {
		return
	}
	connectortest.TestSink(t, connectortest.SinkConfig[dataflow.Sink[string], string]{
		Make: func(*testing.T) (dataflow.Sink[string], func() []string) {
			f := &faulty{name: name}
			return f, f.read
		},
		Rows: numbered,
		Huge: func() string { return strings.Repeat("x", 1<<20) },
		Waiting: func(*testing.T) dataflow.Sink[string] {
			return waiting{name == "waits though it is cancelled"}
		},
		Failing: func(*testing.T) dataflow.Sink[string] { return failing{name == "hides its failure"} },
		Reopen: func(_ *testing.T, sink dataflow.Sink[string]) dataflow.Sink[string] {
			if f, ok := sink.(*faulty); ok && name == "knows batches only in memory" {
				f.ids = nil
			}
			return sink
		},
		Open: func(sink dataflow.Sink[string]) int {
			if f, ok := sink.(*faulty); ok {
				return f.open
			}
			return 0
		},
		Patience: 2e9,
	})
}

// faultyChest is a fenced sink with one breach.
type faultyChest struct {
	*chest
	name string
}

func (f faultyChest) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if f.name == "lets an older claim in" {
		fence = max(fence, f.fences[flow])
	}
	state, err := f.chest.Claim(ctx, flow, fence)
	if f.name == "forgets its state" {
		state = nil
	}
	return state, err
}

func (f faultyChest) WriteFenced(ctx context.Context, b dataflow.FencedBatch[string]) error {
	switch {
	case f.name == "keeps no state without rows" && len(b.Rows) == 0:
		b.State = f.states[b.Flow]
	case f.name == "lets an older claim write":
		b.Fence = f.fences[b.Flow]
	case f.name == "stores the state it refuses":
		f.states[b.Flow] = b.State
	}
	return f.chest.WriteFenced(ctx, b)
}

func TestBrokenFenced(t *testing.T) {
	t.Parallel()
	name := os.Getenv(brokenSinkEnv)
	if name == "" {
		return
	}
	connectortest.TestFencedSink(t, connectortest.SinkConfig[dataflow.FencedSink[string], string]{
		Make: func(*testing.T) (dataflow.FencedSink[string], func() []string) {
			f := faultyChest{newChest(), name}
			return f, func() []string { return f.rows }
		},
		Rows: numbered,
	})
}

// faultyLedger is a TxSink with one breach.
type faultyLedger struct{ ledger }

func (f *faultyLedger) WriteTx(_ context.Context, rows []string) error {
	f.rows = append(f.rows, rows...)
	return nil
}

func TestBrokenTx(t *testing.T) {
	t.Parallel()
	if os.Getenv(brokenSinkEnv) == "" {
		return
	}
	connectortest.TestTxSink(t, connectortest.SinkConfig[dataflow.TxSink[string], string]{
		Make: func(*testing.T) (dataflow.TxSink[string], func() []string) {
			f := &faultyLedger{}
			return f, func() []string { return f.rows }
		},
		Rows: numbered,
		InTx: func(ctx context.Context, sink dataflow.TxSink[string], f func(context.Context) error) error {
			return sink.(*faultyLedger).inTx(ctx, f) //nolint:forcetypeassert // it is of Make
		},
	})
}

func TestSink_FindsOut(t *testing.T) {
	t.Parallel()
	for name, breach := range sinkBreaches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test, _, _ := strings.Cut(breach.subtest, "/")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
			cmd.Env = append(os.Environ(), brokenSinkEnv+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite has found nothing wrong")
			require.Regexp(t, `(?m)^\s*--- FAIL: `+breach.subtest+` `, string(out))
			require.Contains(t, string(out), breach.says)
		})
	}
}
