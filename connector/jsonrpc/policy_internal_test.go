package jsonrpc

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// shop takes rows, and refuses some. It leaves out a result, as servers do whose method
// returns nothing.
type shop struct {
	refused []int
	data    func(index int) string // of the error of a call with many rows
	code    int
	calls   int
	taken   map[int]int
}

func (s *shop) handle(call json.RawMessage) string {
	var c struct {
		ID     string            `json:"id"`
		Params []json.RawMessage `json:"params"`
	}
	_ = json.Unmarshal(call, &c)
	var rows []int
	var one int
	if json.Unmarshal(c.Params[0], &rows) != nil {
		_ = json.Unmarshal(c.Params[0], &one)
		rows = []int{one}
	}
	for i, n := range rows {
		if slices.Contains(s.refused, n) {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"error":{"code":%d,"message":"no","data":%s}}`, c.ID, s.code, s.data(i))
		}
	}
	for _, n := range rows {
		s.taken[n]++
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q}`, c.ID)
}

func (s *shop) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.calls++
	w := httptest.NewRecorder()
	var batch []json.RawMessage
	if !strings.HasPrefix(string(data), "[") {
		_, err = io.WriteString(w, s.handle(data))
		return w.Result(), err
	}
	if err := json.Unmarshal(data, &batch); err != nil {
		return nil, err
	}
	answers := make([]json.RawMessage, len(batch))
	for i, call := range batch {
		answers[i] = json.RawMessage(s.handle(call))
	}
	err = json.NewEncoder(w).Encode(answers)
	return w.Result(), err
}

// A row that the server refuses is for the flow's policy. The others are sent once, whether
// or not the error names the row.
func TestSink_Policy(t *testing.T) {
	t.Parallel()
	named, unnamed := func(i int) string { return fmt.Sprintf(`{"index":%d}`, i) }, func(int) string { return "null" }
	for _, tt := range []struct {
		name  string
		opts  SinkOptions
		data  func(int) string
		code  int
		calls int
	}{
		{"Each", SinkOptions{Each: true}, unnamed, -32602, 1},
		{"Named", SinkOptions{}, named, 7, 3},
		{"Unnamed", SinkOptions{}, unnamed, 7, 15},
		{"UnnamedParams", SinkOptions{}, unnamed, -32602, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &shop{refused: []int{3, 17}, data: tt.data, code: tt.code, taken: map[int]int{}}
			tt.opts.Client, tt.opts.Tries = &http.Client{Transport: s}, 1
			rows := make([]int, 20)
			for i := range rows {
				rows[i] = i + 1
			}
			flow := func(name string, policy dataflow.Policy) *dataflow.Flow {
				return dataflow.NewFlow(name, memory.Slice(rows), dataflow.Identity[int](), Sink[int]("https://api.test/rpc", &tt.opts), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1})
			}
			client := dataflowtest.New(t, flow("keep", dataflow.DeadLetterUpTo(2)), flow("few", dataflow.SkipUpTo(1)), flow("fast", nil)).Client()
			run, err := client.Trigger(t.Context(), "keep", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 20, Written: 18, DeadLettered: 2}, run.Counters)
			require.Equal(t, tt.calls, s.calls)
			require.Len(t, s.taken, 18)
			for n, times := range s.taken {
				require.Equal(t, 1, times, n)
			}
			letters, err := client.DeadLetters(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, letters, 2)
			require.ElementsMatch(t, []string{"3", "17"}, []string{string(letters[0].Payload), string(letters[1].Payload)})
			for _, name := range []string{"few", "fast"} {
				_, err = client.Trigger(t.Context(), name, nil)
				var answered *Error
				require.ErrorAs(t, err, &answered, name)
			}
		})
	}
}
