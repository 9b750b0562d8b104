package enginetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/connector/memory"
)

type airport struct {
	Code  string
	Speed int
}

// A line that could not be read is read again by the rules of its file: with the file's header,
// its separator and its columns.
func TestDeadLetter_ReplayCSV(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "airports.csv")
	require.NoError(t, os.WriteFile(file, []byte("Code;Speed\nTXL;900\nSXF;fast\nBER;850;x\nHAM\nTHF;\"80\"0\n"), 0o600))
	onBoth(t, func(t *dbT) {
		sink := memory.NewSink[airport]()
		client := t.registered(dataflow.NewFlow("f", csvfile.Open[airport](file, &csvfile.Options{Comma: ';'}), dataflow.Identity[airport](), sink.Target(),
			&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
		run, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		require.EqualValues(t, 4, run.Counters.DeadLettered)
		letters, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		id := func(i int) int64 { return letters[len(letters)-1-i].ID }
		report, err := client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Empty(t, report.Replayed)
		require.ErrorContains(t, report.Failed[id(0)], `column "Speed": "fast" is not a valid int`)
		require.ErrorContains(t, report.Failed[id(1)], "has 3 fields, but the header has 2")
		require.ErrorContains(t, report.Failed[id(3)], "quote")

		edit := func(i int, payload string) error {
			_, err := client.EditDeadLetter(t.Context(), id(i), json.RawMessage(payload), "ada")
			return err
		}
		require.ErrorContains(t, edit(0, `{"Code":"SXF","Speed":"slow"}`), `column "Speed": "slow" is not a valid int`)
		require.ErrorContains(t, edit(0, `{"Code":"SXF"}`), `no column with the name of the field Speed`)
		require.ErrorContains(t, edit(0, `fast`), "is not JSON")
		require.NoError(t, edit(0, `{"Code":"SXF","Speed":700}`))
		require.NoError(t, edit(1, `["BER","850"]`))
		require.ErrorContains(t, edit(2, `"HAM;\nTHF;1"`), "more than one record")
		require.NoError(t, edit(2, `"HAM;600"`))
		require.NoError(t, edit(3, `"THF;\"80\""`))
		report, err = client.Replay(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Empty(t, report.Failed)
		require.Equal(t, []airport{{"TXL", 900}, {"SXF", 700}, {"BER", 850}, {"HAM", 600}, {"THF", 80}}, sink.Rows())
		l, err := client.DeadLetter(t.Context(), id(0))
		require.NoError(t, err)
		require.Equal(t, dataflow.DeadLetterReplayed, l.State)
		require.JSONEq(t, `{"Code":"SXF","Speed":"fast"}`, string(l.Original))
		require.Equal(t, "ada", l.EditedBy)
		require.ErrorIs(t, edit(0, `1`), dataflow.ErrDeadLetterClosed)
	})
}

// What the file's bytes did not say as text must not become another record.
func TestDeadLetter_ReplayNotUTF8(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	lines, rows := write("a.jsonl", "{\"Code\":\"M\xfcC\",\"Speed\":\"x\"}\n"), write("a.csv", "Code,Speed\nM\xfcC,x\n")
	onBoth(t, func(t *dbT) {
		for name, flow := range map[string]func(to dataflow.Target[airport], o *dataflow.FlowOptions) *dataflow.Flow{
			"jsonl": func(to dataflow.Target[airport], o *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("jsonl", jsonl.Open[airport](lines, nil), dataflow.Identity[airport](), to, o)
			},
			"csv": func(to dataflow.Target[airport], o *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("csv", csvfile.Open[airport](rows, nil), dataflow.Identity[airport](), to, o)
			},
		} {
			sink := memory.NewSink[airport]()
			client := t.registered(flow(sink.Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
			_, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
			report, err := client.Replay(t.Context(), name, nil)
			require.NoError(t, err)
			require.Len(t, report.Failed, 1)
			for id, failed := range report.Failed {
				require.ErrorContains(t, failed, "not UTF-8")
				_, err = client.EditDeadLetter(t.Context(), id, json.RawMessage(`{"Code":"MÜC","Speed":7}`), "ada")
				require.NoError(t, err)
			}
			report, err = client.Replay(t.Context(), name, nil)
			require.NoError(t, err)
			require.Empty(t, report.Failed)
			require.Equal(t, []airport{{"MÜC", 7}}, sink.Rows())
		}
	})
}

// A null must not be written as a record of zero values, unless a record can be null.
func TestDeadLetter_EditToNull(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		plain, pointers, broken := memory.NewSink[airport](), memory.NewSink[*airport](), true
		refuse := func() error {
			if broken {
				return errBroken
			}
			return nil
		}
		keep := &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}
		client := t.registered(
			dataflow.NewFlow("plain", memory.Slice([]airport{{"TXL", 900}}), dataflow.Map(func(_ context.Context, a airport) (airport, error) { return a, refuse() }), plain.Target(), keep),
			dataflow.NewFlow("pointers", memory.Slice([]*airport{{"TXL", 900}}), dataflow.Map(func(_ context.Context, a *airport) (*airport, error) { return a, refuse() }), pointers.Target(), keep),
		)
		for _, name := range []string{"plain", "pointers"} {
			_, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
			letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: name})
			require.NoError(t, err)
			require.Len(t, letters, 1)
			_, err = client.EditDeadLetter(t.Context(), letters[0].ID, json.RawMessage(" null"), "ada")
			if name == "pointers" {
				require.NoError(t, err)
				continue
			}
			require.ErrorContains(t, err, "it is null")
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
		}
		broken = false
		for _, name := range []string{"plain", "pointers"} {
			report, err := client.Replay(t.Context(), name, nil)
			require.NoError(t, err)
			require.Empty(t, report.Failed)
		}
		require.Equal(t, []airport{{"TXL", 900}}, plain.Rows())
		require.Equal(t, []*airport{nil}, pointers.Rows())
	})
}

// keyed yields 1 to n with the keys "no 1" and so on, or numbers without keys.
func keyed(n int) readFunc {
	return func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= n; i++ {
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, nil) {
				return
			}
		}
	}
}

// badNumbers fails for numbers while they are bad.
func badNumbers(bad map[int]bool) dataflow.Transform[int, int] {
	return dataflow.Map(func(_ context.Context, n int) (int, error) {
		if bad[n] {
			return 0, errBroken
		}
		return n, nil
	})
}

// A record is open once, however often it is read. Once a run has written it, its dead letter is
// resolved, whatever kind of target writes.
func TestDeadLetter_ReadAgain(t *testing.T) {
	t.Parallel()
	for name, flow := range map[string]func(t *dbT, bad map[int]bool, o *dataflow.FlowOptions) *dataflow.Flow{
		"ToTx": func(t *dbT, bad map[int]bool, o *dataflow.FlowOptions) *dataflow.Flow {
			t.table("hb")
			return dataflow.NewFlow("f", keyed(20), badNumbers(bad), appendTo("hb"), o)
		},
		"To": func(_ *dbT, bad map[int]bool, o *dataflow.FlowOptions) *dataflow.Flow {
			return dataflow.NewFlow("f", keyed(20), badNumbers(bad), memory.NewSink[int]().Target(), o)
		},
		"ToFenced": func(_ *dbT, bad map[int]bool, o *dataflow.FlowOptions) *dataflow.Flow {
			return dataflow.NewFlow("f", keyed(20), badNumbers(bad), dataflow.ToFenced(&elsewhere{}), o)
		},
		"ToReplace": func(t *dbT, bad map[int]bool, o *dataflow.FlowOptions) *dataflow.Flow {
			t.keptTables()
			return dataflow.NewFlow("f", memory.Func(func(context.Context) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					for i := 1; i <= 20 && yield(i, nil); i++ {
					}
				}
			}), badNumbers(bad), dataflow.ToReplace(&whole{}), o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *dbT) {
				bad := map[int]bool{3: true, 14: true, 15: true}
				f := flow(t, bad, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, OnBadRecord: dataflow.DeadLetterUpTo(9), MaxAttempts: 1})
				client := t.registered(f)
				run := func() {
					t.Helper()
					if name != "ToReplace" {
						seen, err := client.Cursor(t.Context(), "f")
						require.NoError(t, err)
						_, err = client.SetCursor(t.Context(), "f", &dataflow.SetCursorParams{IfSeq: &seen.Seq})
						require.NoError(t, err)
					}
					_, err := client.Trigger(t.Context(), "f", nil)
					require.NoError(t, err)
				}
				states := func() (found []string) {
					t.Helper()
					all, err := client.DeadLetters(t.Context(), nil)
					require.NoError(t, err)
					for _, l := range slices.Backward(all) {
						found = append(found, fmt.Sprintf("%s %s %d %s", l.Payload, l.State, l.Times, l.ClosedBy))
					}
					return found
				}
				run()
				require.Equal(t, []string{"3 open 1 ", "14 open 1 ", "15 open 1 "}, states())
				delete(bad, 15)
				run()
				require.Equal(t, []string{"3 open 2 ", "14 open 2 ", "15 resolved 1 run 2"}, states())
				clear(bad)
				bad[15] = true
				run()
				require.Equal(t, []string{"3 resolved 2 run 3", "14 resolved 2 run 3", "15 resolved 1 run 2", "15 open 1 "}, states())
			})
		})
	}
}

// A number in a page is a place, not the name of a record: another record may stand there later.
func TestDeadLetter_Places(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		rows := []int{1, 2}
		bad := map[int]bool{1: true, 5: true}
		source := dataflow.Paged(func(context.Context, int) (dataflow.Page[int, int], error) {
			return dataflow.Page[int, int]{Rows: rows}, nil
		})
		client := t.registered(dataflow.NewFlow("f", source, badNumbers(bad), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}))
		for _, next := range [][]int{{5, 6}, {7, 8}} {
			_, err := client.Trigger(t.Context(), "f", nil)
			require.NoError(t, err)
			rows = next
		}
		_, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Equal(t, []string{"transform 0#1 1", "transform 0#1 5"}, t.letters(client, &dataflow.DeadLetterListParams{Open: true}))
	})
}

// A source without a cursor numbers what it reads: another read may find another record at the
// number. The same record there is kept once.
func TestDeadLetter_Numbers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		rows := []int{1, 2}
		source := memory.Func(func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for _, n := range rows {
					if !yield(n, nil) {
						return
					}
				}
			}
		})
		bad := map[int]bool{1: true, 5: true}
		client := t.registered(dataflow.NewFlow("f", source, badNumbers(bad), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}))
		for _, next := range [][]int{{1, 2}, {5, 6}, {7, 8}, nil} {
			_, err := client.Trigger(t.Context(), "f", nil)
			require.NoError(t, err)
			rows = next
		}
		require.Equal(t, []string{"transform row 1 1", "transform row 1 5"}, t.letters(client, &dataflow.DeadLetterListParams{Open: true}))
		letters, err := client.DeadLetters(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, []int{letters[0].Times, letters[1].Times})
	})
}

// A run with other parameters reads other records, which may have the same keys: line 2 of
// another file, for one.
func TestDeadLetter_Parameters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		dir := t.TempDir()
		write := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		write("a.csv", "Code,Speed\nTXL,fast\n")
		write("b.csv", "Code,Speed\nBER,850\n")
		source := dataflow.Parametric(func(p struct{ File string }) (dataflow.Source[airport, csvfile.Cursor], error) {
			return csvfile.Open[airport](filepath.Join(dir, p.File), nil), nil
		})
		client := t.registered(dataflow.NewFlow("f", source, dataflow.Identity[airport](), memory.NewSink[airport]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}))
		read := func(params string) {
			t.Helper()
			_, err := client.Backfill(t.Context(), "f", &dataflow.BackfillParams{Params: json.RawMessage(params)})
			require.NoError(t, err)
			_, err = client.Tick(t.Context())
			require.NoError(t, err)
		}
		open := func() []string { return t.letters(client, &dataflow.DeadLetterListParams{Open: true}) }
		read(`{"File":"a.csv"}`)
		require.Len(t, open(), 1)
		read(`{"File":"b.csv"}`)
		require.Len(t, open(), 1)
		write("a.csv", "Code,Speed\nTXL,900\n")
		read(`{"File": "a.csv"}`)
		require.Empty(t, open())
	})
}

func TestDeadLetter_Close(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := memory.NewSink[int]()
		client := t.registered(dataflow.NewFlow("f", keyed(4), badNumbers(map[int]bool{1: true, 2: true, 3: true}), sink.Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}),
			dataflow.NewFlow("g", keyed(4), badNumbers(map[int]bool{1: true}), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}))
		for _, name := range []string{"f", "g"} {
			_, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
		}
		closing := func(p dataflow.CloseDeadLettersParams) (int64, error) {
			p.Actor, p.Reason = "ada", "by hand"
			return client.CloseDeadLetters(t.Context(), "f", &p)
		}
		open := func() []string { return t.letters(client, &dataflow.DeadLetterListParams{Flow: "f", Open: true}) }
		ids, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "f"})
		require.NoError(t, err)
		other, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "g"})
		require.NoError(t, err)
		var ce *dataflow.ConfigError
		for _, p := range []dataflow.CloseDeadLettersParams{
			{State: dataflow.DeadLetterOpen, All: true},
			{All: true},
			{State: dataflow.DeadLetterResolved},
			{State: dataflow.DeadLetterResolved, All: true, IDs: []int64{1}},
		} {
			_, err := closing(p)
			require.ErrorAs(t, err, &ce)
		}
		for _, id := range []int64{other[0].ID, 999} {
			_, err = closing(dataflow.CloseDeadLettersParams{State: dataflow.DeadLetterDiscarded, IDs: []int64{ids[0].ID, id}})
			require.ErrorIs(t, err, dataflow.ErrNotFound)
		}
		require.Len(t, open(), 3, "none is closed if one cannot be")

		n, err := closing(dataflow.CloseDeadLettersParams{State: dataflow.DeadLetterDiscarded, IDs: []int64{ids[0].ID}})
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		_, err = closing(dataflow.CloseDeadLettersParams{State: dataflow.DeadLetterResolved, IDs: []int64{ids[0].ID, ids[1].ID}})
		require.ErrorIs(t, err, dataflow.ErrDeadLetterClosed)
		require.ErrorContains(t, err, "it was discarded at")
		require.ErrorContains(t, err, "by ada: by hand")
		require.Len(t, open(), 2)
		report, err := client.Replay(t.Context(), "f", &dataflow.ReplayParams{IDs: []int64{ids[0].ID}})
		require.NoError(t, err)
		require.ErrorIs(t, report.Failed[ids[0].ID], dataflow.ErrDeadLetterClosed)

		n, err = closing(dataflow.CloseDeadLettersParams{State: dataflow.DeadLetterResolved, All: true})
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		require.Empty(t, open())
		l, err := client.DeadLetter(t.Context(), ids[2].ID)
		require.NoError(t, err)
		require.Equal(t, []any{dataflow.DeadLetterResolved, "ada", "by hand"}, []any{l.State, l.ClosedBy, l.Reason})
		_, err = client.DeadLetter(t.Context(), 999)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		require.Len(t, t.letters(client, &dataflow.DeadLetterListParams{Flow: "g", Open: true}), 1)
		_, err = client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{State: "odd"})
		require.ErrorAs(t, err, &ce)
	})
}

// Of several records of one key in a batch, the last decides whether the dead letters of the
// others stay open: after a good one, a replay would put an older record over a newer one.
func TestDeadLetter_LaterInTheBatch(t *testing.T) {
	t.Parallel()
	// A record is a number: its last digit is its key, the digit before says where it is bad.
	const good, read, transform, write = 0, 10, 20, 30
	records := []int{
		read + 1, good + 1, // resolved
		transform + 2, good + 2, // resolved
		write + 3, good + 3, // resolved
		good + 4, read + 4, // open
		good + 5, transform + 5, // open
		good + 6, write + 6, // open
		write + 7, good + 7, transform + 7, // open
		read + 8, transform + 8, write + 8, good + 8, // resolved
		write + 9, // open
	}
	refuse := func(rows []int) error {
		for i, n := range rows {
			if n >= write {
				return &dataflow.RowError{Row: i, Err: errBroken}
			}
		}
		return nil
	}
	source := readFunc(func(_ context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From; i < len(records); i++ {
			n := records[i]
			item := dataflow.Item[int, int]{Value: n, Cursor: i + 1, Resume: true, Key: fmt.Sprintf("k%d", n%10)}
			var err error
			if n/10*10 == read {
				err = &dataflow.RecordError{Key: item.Key, Raw: fmt.Append(nil, n), Err: errBroken}
			}
			if !yield(item, err) {
				return
			}
		}
	})
	mapped := dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n/10*10 == transform {
			return 0, errBroken
		}
		return n, nil
	})
	for name, target := range map[string]func(t *dbT) dataflow.Target[int]{
		"ToTx": func(t *dbT) dataflow.Target[int] {
			t.table("hb")
			return dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
				if err := refuse(rows); err != nil {
					return err
				}
				return insertInto(ctx, "hb", rows)
			}))
		},
		"To": func(*dbT) dataflow.Target[int] {
			return dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error { return refuse(b.Rows) }))
		},
		"ToFenced": func(*dbT) dataflow.Target[int] { return dataflow.ToFenced(&elsewhere{before: refuse}) },
	} {
		for _, size := range []int{1, 3, len(records)} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				onBoth(t, func(t *dbT) {
					client := t.registered(dataflow.NewFlow("f", source, mapped, target(t), &dataflow.FlowOptions{
						Runtime: dataflow.Heartbeat{BatchSize: size}, OnBadRecord: dataflow.DeadLetterUpTo(20), MaxAttempts: 1,
					}))
					run, err := client.Trigger(t.Context(), "f", nil)
					require.NoError(t, err)
					require.EqualValues(t, 12, run.Counters.DeadLettered)
					all, err := client.DeadLetters(t.Context(), nil)
					require.NoError(t, err)
					states := make(map[string]dataflow.DeadLetterState)
					for _, l := range all { // newest first
						if _, later := states[l.Key]; !later {
							states[l.Key] = l.State
						}
						require.True(t, l.State == states[l.Key] || l.ClosedAt != nil, "an older one of %s is open", l.Key)
					}
					const open, resolved = dataflow.DeadLetterOpen, dataflow.DeadLetterResolved
					require.Equal(t, map[string]dataflow.DeadLetterState{
						"k1": resolved, "k2": resolved, "k3": resolved, "k4": open, "k5": open, "k6": open, "k7": open, "k8": resolved, "k9": open,
					}, states)
				})
			})
		}
	}
}
