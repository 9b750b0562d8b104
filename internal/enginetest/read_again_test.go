package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// lookingBack is a source of the numbers up to last, which looks back by six. Every second number is a
// resume point.
type lookingBack struct {
	last   int
	breaks int // the number after which one read breaks; 0: none does
	asked  []dataflow.Request[againPlace]
}

// againPlace is after High, or within the lookback before it.
type againPlace struct{ High, At int }

func (s *lookingBack) Rereads() bool { return true }

func (s *lookingBack) Read(_ context.Context, r dataflow.Request[againPlace]) iter.Seq2[dataflow.Item[int, againPlace], error] {
	s.asked = append(s.asked, r)
	return func(yield func(dataflow.Item[int, againPlace], error) bool) {
		first := r.From.High + 1
		switch {
		case r.Continued && r.From.At > 0:
			first = r.From.At + 1
		case r.Resumed && !r.Continued:
			first -= 6
		}
		for n := first; n <= s.last; n++ {
			item := dataflow.Item[int, againPlace]{Value: n, Key: fmt.Sprint(n), Resume: n%2 == 0, Cursor: againPlace{High: n}}
			if n <= r.From.High {
				item.Again, item.Cursor = true, againPlace{High: r.From.High, At: n}
			}
			var bad error
			if n == 8 {
				bad = &dataflow.RecordError{Key: "8", Err: errors.New("eight")}
			}
			if !yield(item, bad) {
				return
			}
			if n == s.breaks {
				s.breaks = 0
				yield(dataflow.Item[int, againPlace]{}, dataflow.Transient(errors.New("broken")))
				return
			}
		}
	}
}

// Records that an earlier run has read are counted apart, and exactly once where a read breaks
// between its resume points.
func TestReadAgain(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{0, time.Hour} {
		onBoth(t, func(t *dbT) {
			var ids, keys []string
			sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
				ids, keys = append(ids, b.ID), append(keys, b.Keys...)
				return nil
			})
			source := &lookingBack{last: 10}
			client := t.registered(dataflow.NewFlow("again", source, dataflow.Identity[int](), dataflow.To[int](sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(9), BatchWait: wait}))
			work := func() dataflow.Counters {
				ids, keys, source.asked = nil, nil, nil
				run, err := client.Trigger(t.Context(), "again", nil)
				require.NoError(t, err)
				return run.Counters
			}
			require.Equal(t, dataflow.Counters{Read: 10, Written: 9, Dropped: 1}, work())
			require.Equal(t, dataflow.Counters{Read: 6, Written: 5, Dropped: 1, ReadAgain: 6}, work())
			before := slices.Clone(ids)
			require.Equal(t, dataflow.Counters{Read: 6, Written: 5, Dropped: 1, ReadAgain: 6}, work())
			require.Equal(t, []string{"5", "6", "7", "9", "10"}, keys, "as they were")
			require.NotEqual(t, before, ids, "other records may be between the same cursors in another run")

			source.last, source.breaks = 12, 7
			require.Equal(t, dataflow.Counters{Read: 8, Written: 7, Dropped: 1, ReadAgain: 6}, work())
			require.Equal(t, []string{"5", "6", "7", "9", "10", "11", "12"}, keys)
			require.Len(t, source.asked, 2)
			require.False(t, source.asked[0].Continued)
			require.True(t, source.asked[1].Continued)
			require.Equal(t, againPlace{High: 10, At: 6}, source.asked[1].From)
		})
	}
}

// A snapshot is read as a whole by each run. If a page in its middle has changed alone, the batch has the cursors of
// the run before, and a server that knows it by its ID must not take it for that one.
func TestReadAgain_Snapshot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var price atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Query().Get("page") {
			case "1":
				_, _ = fmt.Fprint(w, `[{"id":1,"price":1}]`)
			case "2":
				_, _ = fmt.Fprintf(w, `[{"id":2,"price":%d}]`, price.Load())
			case "3":
				_, _ = fmt.Fprint(w, `[{"id":3,"price":3}]`)
			default:
				_, _ = fmt.Fprint(w, `[]`)
			}
		}))
		t.Cleanup(server.Close)
		type row struct{ ID, Price int }
		seen, stored, lost := map[string]bool{}, map[int]int{}, false
		sink := dataflow.SinkFunc[row](func(_ context.Context, b dataflow.SinkBatch[row]) error {
			if !seen[b.ID] { // as an API with an Idempotency-Key does
				seen[b.ID] = true
				for _, r := range b.Rows {
					stored[r.ID] = r.Price
				}
			}
			if lost = !lost; lost {
				return dataflow.Transient(errors.New("the response is lost"))
			}
			return nil
		})
		source := httpjson.Source[row](server.URL, &httpjson.Options{Key: "id", Snapshot: true, Paging: httpjson.PageNumber{}})
		client := t.registered(dataflow.NewFlow("prices", source, dataflow.Identity[row](), dataflow.To[row](sink), nil))
		for n := range 4 {
			price.Store(int64(n))
			run, err := client.Trigger(t.Context(), "prices", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, map[int]int{1: 1, 2: n, 3: 3}, stored)
			require.Len(t, seen, n+1, "a retry has the same ID")
		}
	})
}

// A target that appends would have them twice, and so would one with a file for each batch.
func TestReadAgain_Refused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	onBoth(t, func(t *dbT) {
		type row struct{ N int }
		toRow := dataflow.Map(func(_ context.Context, n int) (row, error) { return row{n}, nil })
		for _, flow := range []*dataflow.Flow{
			dataflow.NewFlow("again", &lookingBack{}, dataflow.Identity[int](), dataflow.ToTx(appends{}), nil),
			dataflow.NewFlow("again", &lookingBack{}, dataflow.Identity[int](), jsonl.WriteFiles[int](dir), nil),
			dataflow.NewFlow("again", &lookingBack{}, toRow, csvfile.WriteFiles[row](dir, nil), nil),
		} {
			_, err := dataflow.NewClient(t.driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.ErrorContains(t, err, `Flows["again"].Target: it appends, or keeps each batch, and the source reads records again`)
		}
	})
}

type appends struct{ discard }

func (appends) AppendOnly() bool { return true }

// A backfill puts records into files that are in others already. It does so only if it was allowed.
func TestBackfill_Files(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(dataflow.NewFlow("files", numbers{n: 3}, dataflow.Identity[int](), jsonl.WriteFiles[int](t.TempDir()), nil))
		_, err := client.Backfill(t.Context(), "files", nil)
		require.ErrorContains(t, err, "Append: the flow's sink appends, or keeps each batch")
		_, err = client.Backfill(t.Context(), "files", &dataflow.BackfillParams{Append: true})
		require.NoError(t, err)
	})
}
