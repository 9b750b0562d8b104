package httpjson_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
)

// thing is the record of the APIs: its number, when it was changed, and how often.
type thing struct {
	n       int
	changed time.Time
	version int
}

// fake is an API that behaves as its documentation says.
type fake struct {
	mu       sync.Mutex
	things   []thing
	page     int // records
	caps     map[string]bool
	run      int // which makes tokens expire
	asked    int
	searches [][]int // of the numbers of things
	now      time.Time
	answer   func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any)
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (f *fake) grow(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.now = epoch.Add(time.Duration(len(f.things)) * 5 * time.Minute)
		f.things = append(f.things, thing{n: len(f.things) + 1, changed: f.now})
	}
	f.run++
}

// change changes things, one each five minutes.
func (f *fake) change(numbers ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range numbers {
		f.now = f.now.Add(5 * time.Minute)
		f.things[n-1].changed = f.now
		f.things[n-1].version++
	}
}

// byChange returns things in the order of their changes.
func byChange(list []thing) []thing {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b thing) int { return a.changed.Compare(b.changed) })
	return list
}

func (f *fake) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	w.Header().Set("Date", f.now.Format(http.TimeFormat))
	var body map[string]any
	if data, _ := io.ReadAll(req.Body); len(data) > 0 {
		if json.Unmarshal(data, &body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	f.answer(f, w, req, body)
}

// since returns the things changed at or after a time.
func (f *fake) since(t time.Time) (list []thing) {
	for _, x := range f.things {
		if !x.changed.Before(t) {
			list = append(list, x)
		}
	}
	return list
}

// cut returns a page of a list from a place, and the place of the next, or -1.
func (f *fake) cut(list []thing, from int) (page []thing, next int) {
	from = min(max(from, 0), len(list))
	to := min(from+f.page, len(list))
	if next = to; to == len(list) {
		next = -1
	}
	return list[from:to], next
}

// rows writes things as records: their id, and their time under a name.
func rows(list []thing, field string, asTime func(time.Time) any) []any {
	out := []any{}
	for _, x := range list {
		row := map[string]any{"id": x.n, "version": x.version}
		if field != "" {
			row[field] = asTime(x.changed)
		}
		out = append(out, row)
	}
	return out
}

func iso(t time.Time) any { return t.Format(time.RFC3339) }

func write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, text)
}

// number reads a parameter. It returns 0 without one.
func number(req *http.Request, name string) int {
	n, _ := strconv.Atoi(req.URL.Query().Get(name))
	return n
}

// token makes the name of a place that is known in this run only, if tokens expire.
func (f *fake) token(place int) string { return fmt.Sprintf("t%d-%d=", f.run, place) }

// placeOf reads a token. It returns false for an expired one.
func (f *fake) placeOf(token string) (int, bool) {
	if token == "" {
		return 0, true
	}
	var run, place int
	if n, _ := fmt.Sscanf(token, "t%d-%d=", &run, &place); n != 2 || f.caps["expires"] && run != f.run {
		return 0, false
	}
	return place, true
}

// tokened answers with pages that are named by a token.
func tokened(param string, list func(f *fake, req *http.Request, body map[string]any) []thing, envelope func(page []thing, next string) any) func(*fake, http.ResponseWriter, *http.Request, map[string]any) {
	return func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any) {
		text, _ := body[param].(string)
		if body == nil {
			text = req.URL.Query().Get(param)
		}
		from, ok := f.placeOf(text)
		if !ok {
			refuse(w, http.StatusUnprocessableEntity, `{"error":{"type":"LIST_RECORDS_ITERATOR_NOT_AVAILABLE"}}`)
			return
		}
		page, next := f.cut(list(f, req, body), from)
		name := ""
		if next >= 0 {
			name = f.token(next)
		}
		write(w, envelope(page, name))
	}
}

func all(f *fake, _ *http.Request, _ map[string]any) []thing { return f.things }

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// with sets a field of an object unless its value is empty.
func with(object map[string]any, field, value string) map[string]any {
	if value != "" {
		object[field] = value
	}
	return object
}

// one is an API of the table in docs/connectors/http.md.
type one struct {
	name   string
	recipe func(address string) (string, *httpjson.Options)
	caps   string // what the server does besides
	again  bool   // some records arrive again, by Lookback or Snapshot
	change bool   // a record that changes arrives again
	answer func(f *fake, w http.ResponseWriter, req *http.Request, body map[string]any)
}

// record is what all of the APIs' records are read into.
type record struct {
	ID  json.Number `json:"id"`
	ID2 json.Number `json:"Id"`
	ID3 json.Number `json:"_id"`
	TS  string      `json:"ts"`

	Version int `json:"version"`

	Resource *struct {
		ID      json.Number `json:"id"`
		Version int         `json:"version"`
	} `json:"resource"`
}

func (r record) n(t *testing.T) int {
	t.Helper()
	n, err := r.number()
	require.NoError(t, err)
	return n
}

// number returns the number of the record.
func (r record) number() (int, error) {
	if r.Resource != nil {
		return strconv.Atoi(string(r.Resource.ID))
	}
	return strconv.Atoi(strings.TrimPrefix(string(r.ID)+string(r.ID2)+string(r.ID3)+r.TS, "ts"))
}

func (r record) version() int {
	if r.Resource != nil {
		return r.Resource.Version
	}
	return r.Version
}

// Each API is read exactly: at first, and twice after it has grown. Each run is killed in the
// middle of a page, and continues from a record before that.
func TestAPIs(t *testing.T) {
	t.Parallel()
	for _, api := range apis() {
		for _, expires := range []bool{false, true} {
			name := api.name
			if expires {
				if name += "/Expires"; !strings.Contains(api.caps, "expires") {
					continue
				}
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := &fake{page: 10, answer: api.answer, caps: map[string]bool{"expires": expires}}
				server := httptest.NewServer(f)
				t.Cleanup(server.Close)
				address, opts := api.recipe(server.URL)
				opts.Logger = quiet
				src := httpjson.Source[record](address, opts)
				var at httpjson.Cursor
				have := map[int]int{}
				for run, growth := range []int{35, 7, 7, 0} {
					f.grow(growth)
					before := len(f.things)
					got, stopped := runKilled(t, src, at, []int{13, 3, 4, 0}[run])
					if expires {
						f.grow(0) // the tokens die
					}
					if run < 3 {
						f.grow(2) // a list with the newest first moves
					}
					more, end := runKilled(t, src, stopped, -1)
					for _, n := range append(got, more...) {
						have[n]++
					}
					require.GreaterOrEqual(t, len(have), before, "run %d: %v then %v", run, got, more)
					for n, times := range have {
						require.True(t, api.again || times == 1, "record %d came %d times", n, times)
					}
					at = end
				}
				require.Len(t, have, len(f.things))
			})
		}
	}
}

// runKilled reads from a cursor, as it is stored. After some records it is killed, and one of
// them is not committed. -1 reads to the end.
func runKilled(t *testing.T, src dataflow.Source[record, httpjson.Cursor], from httpjson.Cursor, after int) (got []int, at httpjson.Cursor) {
	t.Helper()
	data, err := json.Marshal(from)
	require.NoError(t, err)
	at = httpjson.Cursor{}
	require.NoError(t, json.Unmarshal(data, &at))
	require.Equal(t, from, at)
	for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: from, Resumed: from != httpjson.Cursor{}}) {
		require.NoError(t, err)
		if len(got) == after {
			break
		}
		if at = item.Cursor; !item.Mark {
			got = append(got, item.Value.n(t))
		}
	}
	return got, at
}

// Records change while they are read: some that were read already, and some that were not. After
// the next run, the last version of each was read.
func TestAPIs_Change(t *testing.T) {
	t.Parallel()
	for _, api := range apis() {
		if !api.change {
			continue
		}
		t.Run(api.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{page: 10, answer: api.answer}
			server := httptest.NewServer(f)
			t.Cleanup(server.Close)
			address, opts := api.recipe(server.URL)
			src := httpjson.Source[record](address, opts)
			f.grow(35)
			var at httpjson.Cursor
			have := map[int]int{}
			take := func(changed ...int) {
				most := 13
				for item, err := range src.Read(t.Context(), dataflow.Request[httpjson.Cursor]{From: at, Resumed: at != httpjson.Cursor{}}) {
					require.NoError(t, err)
					if at = item.Cursor; !item.Mark {
						have[item.Value.n(t)] = item.Value.version()
					}
					if most--; most == 0 {
						f.change(changed...)
					}
				}
			}
			take(2, 9, 30, 5, 35, 34)
			take(3, 35, 35, 33, 34)
			f.change(35)
			take()
			take()
			require.Len(t, have, 35)
			for _, x := range f.things {
				require.Equal(t, x.version, have[x.n], "the last version of record %d", x.n)
			}
		})
	}
}

// A list whose last records were changed and moved to its end loses none of those that stand
// before them now.
func TestSource_MovedRecords(t *testing.T) {
	t.Parallel()
	for _, list := range [][]int{{1, 2, 4, 3}, {1, 2, 4, 3, 5}, {1, 4, 5, 3, 2}, {4, 5, 3, 2, 1}, {2, 4, 3, 1, 5}, {4, 1, 2, 3}} {
		for _, stream := range []bool{false, true} {
			now := []int{1, 2, 3}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				var rows []any
				for _, n := range now {
					rows = append(rows, map[string]any{"id": n})
				}
				write(w, rows)
			}))
			t.Cleanup(server.Close)
			src := httpjson.Source[order](server.URL, &httpjson.Options{Key: "id", Stream: stream, RestartExpired: true})
			_, at, err := read(t.Context(), t, src, httpjson.Cursor{})
			require.NoError(t, err)
			now = list
			got, _, err := read(t.Context(), t, src, at)
			require.NoError(t, err)
			for _, n := range list {
				if stream && list[2] == 3 { // it stands at its place by chance
					continue
				}
				require.True(t, n < 4 || slices.Contains(got, n), "%d of %v is lost: %v", n, list, got)
			}
		}
	}
}
