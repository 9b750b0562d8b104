package connectortest_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/connectortest"
)

// brokenEnv names the breach of contract that TestBroken tries.
const brokenEnv = "CONNECTORTEST_BROKEN"

// breaches are sources that break the contract in one way each, with the subtest
// that detects it.
var breaches = map[string]struct {
	subtest string
	read    func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool)
}{
	"loses the record behind the cursor": {"Resume", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		if r.Resumed && r.From > 0 {
			r.From = min(r.From+1, len(w))
		}
		w.Read(ctx, r)(yield)
	}},
	"doubles the record before the cursor": {"Resume", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		r.From = max(0, r.From-1)
		w.Read(ctx, r)(yield)
	}},
	"ignores the context": {"CancelledWithin", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		if ctx.Err() == nil {
			ctx = context.WithoutCancel(ctx)
		}
		w.Read(ctx, r)(yield)
	}},
	"ends silently when cancelled": {"CancelledBefore", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		if ctx.Err() == nil {
			w.Read(ctx, r)(yield)
		}
	}},
	"goes on when the consumer has left": {"BreakOff", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		for item, err := range w.Read(ctx, r) {
			_ = yield(item, err)
		}
	}},
	"has no resume point at its end": {"All", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		for item, err := range w.Read(ctx, r) {
			item.Resume, item.Key = item.Cursor < len(w), item.Value
			if !yield(item, err) {
				return
			}
		}
	}},
	"gives all records one key": {"All", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		for item, err := range w.Read(ctx, r) {
			item.Key = "record"
			if !yield(item, err) {
				return
			}
		}
	}},
	"loses the last record of a page": {"Many", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		for item, err := range w.Read(ctx, r) {
			if (err != nil || item.Cursor%100 != 0) && !yield(item, err) {
				return
			}
		}
	}},
	"takes a failure for the end": {"Failing", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		w.Read(ctx, r)(func(item dataflow.Item[string, int], err error) bool { return item.Value != cut && yield(item, err) })
	}},
	"leaves a goroutine when the consumer has left": {"Goroutines", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		ahead := make(chan func() bool)
		go func() {
			defer close(ahead)
			for item, err := range w.Read(ctx, r) {
				ahead <- func() bool { return yield(item, err) }
			}
		}()
		for yieldNext := range ahead {
			if !yieldNext() {
				return
			}
		}
	}},
	forgetful: {"Reopened", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		w.Read(ctx, r)(yield)
	}},
	"ends with io.EOF": {"All", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		for item, err := range w.Read(ctx, r) {
			if !yield(item, err) {
				return
			}
		}
		yield(dataflow.Item[string, int]{}, io.EOF)
	}},
	greedy: {"Committed", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		w.Read(ctx, r)(yield)
	}},
	"fails when it is empty": {"Empty", func(ctx context.Context, w words, r dataflow.Request[int], yield func(dataflow.Item[string, int], error) bool) {
		if len(w) == 0 {
			yield(dataflow.Item[string, int]{}, errors.New("no words"))
			return
		}
		w.Read(ctx, r)(yield)
	}},
}

// says is what the suite says of some breaches.
var says = map[string]string{
	"leaves a goroutine when the consumer has left": "10 goroutines are still there after 10 reads that the consumer has left, such as",
	"ends with io.EOF":            "EOF: a read without more records returns, and yields no error",
	greedy:                        "resumed after Committed at 1",
	"takes a failure for the end": "a read that fails after 0 of 23 records ends with an error",
}

const (
	greedy    = "acknowledges all that it has read"
	forgetful = "knows its cursors only in memory"
	cut       = "the connection is cut here" // a word that cannot be read
)

type broken struct {
	words
	name     string
	reopened bool
	acked    *int // the records before are gone
}

func (b broken) Committed(_ context.Context, cursor int) error {
	if *b.acked = cursor; b.name == greedy {
		*b.acked = len(b.words)
	}
	return nil
}

func (b broken) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[string, int], error] {
	return func(yield func(dataflow.Item[string, int], error) bool) {
		r.From = max(r.From, *b.acked)
		if b.reopened && b.name == forgetful {
			r.From = 0
		}
		breaches[b.name].read(ctx, b.words, r, func(item dataflow.Item[string, int], err error) bool {
			if item.Value == cut {
				item, err = dataflow.Item[string, int]{}, errors.New(cut)
			}
			return yield(item, err) && err == nil
		})
	}
}

// TestBroken runs only in the processes that TestSource_FindsOut starts.
func TestBroken(t *testing.T) {
	t.Parallel()
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip(brokenEnv + " is not set")
	}
	connectortest.TestSource(t, connectortest.SourceConfig[string, int]{
		Make: func(_ *testing.T, rows []string) dataflow.Source[string, int] {
			return broken{words: rows, name: name, acked: new(int)}
		},
		MakeFailing: func(_ *testing.T, rows []string, at int) dataflow.Source[string, int] {
			return broken{words: append(slices.Clone(rows[:at]), cut), name: name, acked: new(int)}
		},
		Reopen: func(_ *testing.T, src dataflow.Source[string, int]) dataflow.Source[string, int] {
			b, _ := src.(broken)
			b.reopened = true
			return b
		},
		Rows:     numbered,
		Patience: 2e9,
	})
}

func TestSource_FindsOut(t *testing.T) {
	t.Parallel()
	for name, breach := range breaches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$", "-test.v")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite has found nothing wrong")
			require.Regexp(t, `(?m)^\s*--- FAIL: TestBroken/`+breach.subtest+` `, string(out))
			require.Contains(t, string(out), says[name])
		})
	}
}
