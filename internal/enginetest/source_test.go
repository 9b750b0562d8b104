package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// items reads a source from a cursor, as text.
func items[T, C any](t *testing.T, s dataflow.Source[T, C], from C) (read []string, err error) {
	t.Helper()
	for item, e := range s.Read(t.Context(), dataflow.Request[C]{From: from, Resumed: true}) {
		if e != nil {
			return read, e
		}
		text := fmt.Sprintf("%s=%v", item.Key, item.Value)
		if item.Mark {
			text = "mark"
		}
		if item.Mark || item.Resume {
			text += fmt.Sprintf("@%v", item.Cursor)
		}
		read = append(read, text)
	}
	return read, nil
}

func TestPaged(t *testing.T) {
	t.Parallel()
	type page = dataflow.Page[string, int]
	source := dataflow.Paged(func(_ context.Context, from int) (page, error) {
		switch from {
		case 0:
			return page{Rows: []string{"a", "b"}, Keys: []string{"A", "B"}, Next: 2, More: true}, nil
		case 2:
			return page{Next: 3, More: true}, nil
		case 3:
			return page{Rows: []string{"c", "d"}, Next: 5}, nil
		case 7:
			return page{Rows: []string{"a"}, Keys: []string{"A", "B"}}, nil
		default:
			return page{}, errBroken
		}
	})
	for from, want := range map[int][]string{
		0: {"A=a", "B=b@2", "mark@3", "3#1=c", "3#2=d@5"},
		2: {"mark@3", "3#1=c", "3#2=d@5"},
		3: {"3#1=c", "3#2=d@5"},
	} {
		read, err := items(t, source, from)
		require.NoError(t, err)
		require.Equal(t, want, read)
	}
	_, err := items(t, source, 7)
	require.ErrorContains(t, err, "fetch page at 7: the page has 1 rows and 2 keys")
	_, err = items(t, source, 9)
	require.ErrorIs(t, err, errBroken)
	for item, err := range source.Read(t.Context(), dataflow.Request[int]{}) {
		require.NoError(t, err)
		require.Equal(t, "a", item.Value)
		break // which must not go on
	}
}

// eager is a source that counts its records, and hears of commits.
type eager struct {
	numbers
	db *dbT

	mu        sync.Mutex // guards committed
	committed []int
	early     bool // a cursor was told before it was stored
}

func (s *eager) Count(_ context.Context, r dataflow.Request[int]) (int64, error) {
	return int64(s.n - r.From), nil
}

func (s *eager) Committed(_ context.Context, cursor int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = append(s.committed, cursor)
	s.early = s.early || s.db.text("select cast(cursor as text) from dataflow_checkpoint") != fmt.Sprint(cursor)
	return errors.New("it is no matter")
}

func TestSource_CounterAndAcker(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		source := &eager{numbers: numbers{n: 35}, db: t}
		var once sync.Once
		transform := dataflow.Map(func(_ context.Context, v int) (n int, err error) {
			if v == 25 {
				once.Do(func() { err = errBroken })
			}
			return v, err
		})
		l := newLogs()
		client := t.client(&dataflow.Config{Logger: l.logger(), Flows: []*dataflow.Flow{
			dataflow.NewFlow("f", source, transform, appendTo("f"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, Backoff: func(int) time.Duration { return 0 }}),
		}})
		require.NoError(t, client.Register(t.Context()))
		run, err := t.execute(client, "f")
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, []int{10, 20}, source.committed)
		progress, err := client.Progress(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, progress.State)
		require.Equal(t, int64(20), progress.Counters.Read)
		require.Equal(t, int64(35), *progress.Total)

		run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, []int{10, 20, 30, 35}, source.committed)
		require.False(t, source.early)
		require.Len(t, l.lines("it is no matter"), 4)
		require.Equal(t, int64(35), *run.Total, "what is read already counts")
		progress, err = client.Progress(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, run.Duration(), progress.Elapsed)
		require.Positive(t, progress.Rate)
	})
}

// marked yields numbers that are no resume points, and marks.
func marked(yields ...int) readFunc {
	return func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for _, n := range yields {
			item := dataflow.Item[int, int]{Value: n}
			if n <= 0 { // a mark at -n
				item = dataflow.Item[int, int]{Mark: true, Cursor: -n}
			}
			if max(n, -n) > r.From && !yield(item, nil) {
				return
			}
		}
	}
}

func TestSource_ResumePoints(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, c := range map[string]struct {
			source  readFunc
			batches []int64 // the total of records read at each checkpoint
			cursor  string
			err     string
		}{
			"resumes": {marked(1, 2, 3, -3, 4, 5, -5), []int64{3, 5}, "5", ""},
			"spans":   {marked(1, -1, 2, 3, -3), []int64{3}, "3", ""},
			"waits":   {marked(1, 2, 3, 4, 5, -5), []int64{5}, "5", ""},
			"skips":   {marked(-100), []int64{0}, "100", ""},
			"ends":    {marked(1, 2, -2, 3, 4, 5, -5, -9), []int64{2, 5, 5}, "9", ""},
			"hangs":   {marked(1, 2, -2, 3), []int64{2}, "2", "the source ended 1 records after its last resume point"},
			"never":   {marked(1, 2, 3), nil, "", "the source ended 3 records after"},
			"empty":   {marked(), nil, "", ""},
		} {
			t.table(name)
			client := t.registered(dataflow.NewFlow(name, c.source, dataflow.Identity[int](), appendTo(name), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}))
			events, cancel := client.Subscribe(dataflow.EventRunProgress)
			run, err := t.execute(client, name)
			cancel()
			if c.err == "" {
				require.NoError(t, err, name)
				require.Equal(t, dataflow.RunSuccess, run.State)
			} else {
				require.ErrorContains(t, err, c.err)
				require.ErrorContains(t, err, "make its last record a resume point, or yield a mark after it")
				require.Equal(t, dataflow.RunFailed, run.State)
				require.Equal(t, 1, run.Attempt)
			}
			var batches []int64
			for e := range events {
				batches = append(batches, e.Run.Counters.Read)
			}
			require.Equal(t, c.batches, batches, name)
			require.Equal(t, c.cursor, string(run.ToCursor), name)
			if len(batches) > 0 {
				t.requireExactly(name, batches[len(batches)-1])
			}
			again, err := t.execute(client, name)
			require.Equal(t, c.err == "", err == nil)
			require.Zero(t, again.Counters.Read, "what is committed is not read again")
		}
	})
}

// A stored cursor that is not the source's does not make the run start from the
// beginning.
func TestSource_AnothersCursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		client := t.registered(flowTo("f", 3, dataflow.Identity[int](), nil))
		_, err := t.execute(client, "f")
		require.NoError(t, err)
		for _, cursor := range []string{`"abc"`, `{"page":3}`, `[1]`, `1.5`, `1 2`} {
			if cursor == "1 2" && t.isPostgres {
				continue // which lets in JSON alone
			}
			require.NoError(t, t.exec("update dataflow_checkpoint set cursor = '"+cursor+"'"))
			run, err := t.execute(client, "f")
			requirePublic(t, err)
			require.ErrorContains(t, err, `flow "f"`)
			require.ErrorContains(t, err, "the stored cursor "+cursor+" is not one of this source (custom)")
			require.ErrorContains(t, err, "restore the source that wrote it, or give the changed flow a new name")
			require.Equal(t, dataflow.RunFailed, run.State)
			require.Equal(t, cursor, t.text("select cast(cursor as text) from dataflow_checkpoint"))
		}
		t.requireExactly("f", 3)

		paged := dataflow.Paged(func(context.Context, place) (page dataflow.Page[int, place], err error) { return page, nil })
		client = t.registered(dataflow.NewFlow("f", paged, dataflow.Identity[int](), appendTo("f"), nil))
		for cursor, ok := range map[string]bool{`{"offset":3}`: false, `{"page":3,"offset":3}`: false, `{"page":3}`: true} {
			require.NoError(t, t.exec("update dataflow_checkpoint set cursor = '"+cursor+"'"))
			_, err := t.execute(client, "f")
			require.Equal(t, ok, err == nil, "%s: %v", cursor, err)
		}
	})
}

// place is a cursor of several fields.
type place struct {
	Page int `json:"page"`
}

// Every attempt reads a source without a cursor from its beginning.
func TestSource_NoCursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		var calls atomic.Int32
		failAt15 := dataflow.Map(func(_ context.Context, v int) (int, error) {
			if calls.Add(1) == 15 {
				return 0, errBroken
			}
			return v, nil
		})
		client := t.registered(dataflow.NewFlow("f", onceNumbers{n: 25}, failAt15, appendTo("f"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, Backoff: func(int) time.Duration { return 0 }}))
		run, err := t.execute(client, "f")
		require.ErrorContains(t, err, "transform record #15: ")
		require.Equal(t, dataflow.Counters{Read: 10, Written: 10}, run.Counters)
		run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 25, Written: 25}, run.Counters)
		require.Nil(t, run.ToCursor)
		run, err = t.execute(client, "f")
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 25, Written: 25}, run.Counters)
		require.Equal(t, int64(10+25+25), t.number("select count(*) from f"))
	})
}

// A sink outside the database can recognise a batch that comes again.
func TestSink_SameBatchAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for name, newFlow := range map[string]func(to dataflow.Target[int], opts *dataflow.FlowOptions) *dataflow.Flow{
			"cursor": func(to dataflow.Target[int], opts *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("cursor", numbers{n: 30}, dataflow.FlatMap(twice), to, opts)
			},
			"none": func(to dataflow.Target[int], opts *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("none", onceNumbers{n: 30}, dataflow.FlatMap(twice), to, opts)
			},
		} {
			var batches []string
			ids := make(map[string]bool)
			sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
				text, err := json.Marshal(b)
				batches, ids[b.ID] = append(batches, string(text)), true
				require.Len(t, b.Keys, 20)
				if err == nil && len(batches) == 2 {
					err = errBroken // it may have written all the same
				}
				return err
			})
			opts := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, Backoff: func(int) time.Duration { return 0 }}
			client := t.registered(newFlow(dataflow.To(sink), opts))
			run, err := t.execute(client, name)
			require.ErrorIs(t, err, errBroken)
			require.ErrorContains(t, err, "write records ")
			require.Equal(t, int64(10), run.Counters.Written)
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 30, Written: 30}, run.Counters)
			require.Len(t, ids, 3)
			if name == "none" {
				require.Equal(t, batches[:2], batches[2:4], "it begins again")
				continue
			}
			require.Equal(t, batches[1], batches[2])
			require.Contains(t, batches[1], `"11","11/2","12","12/2"`)
		}
	})
}

// A batch that was written but not checkpointed comes again with more records, if the
// source has more by then. It then has another ID. Otherwise the sink would take it for
// the one that it has.
func TestSink_GrownBatch(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		n := 5
		source := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			numbers{n: n}.Read(ctx, r)(yield)
		})
		seen := make(map[string]bool)
		rows := make(map[int]bool)
		sink := dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			if seen[b.ID] {
				return nil
			}
			seen[b.ID] = true
			for _, row := range b.Rows {
				rows[row] = true
			}
			if n == 5 {
				n = 8
				return errBroken
			}
			return nil
		})
		client := t.registered(dataflow.NewFlow("grown", source, dataflow.Identity[int](), dataflow.To(sink), &dataflow.FlowOptions{
			Backoff: func(int) time.Duration { return 0 },
		}))
		run, err := t.execute(client, "grown")
		require.ErrorIs(t, err, errBroken)
		run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, int64(8), run.Counters.Written)
		require.Len(t, rows, 8)
	})
}
