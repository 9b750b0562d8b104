package dataflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// noDatabase is a driver for what must not touch the database.
type noDatabase struct{}

func (noDatabase) Store(dataflow.StoreOptions) (dataflow.Store, error) { return nil, nil }

// discard is a sink that does nothing.
type discard struct{ appendOnly bool }

func (discard) WriteTx(context.Context, []int) error { return nil }

func (discard) Write(context.Context, dataflow.SinkBatch[int]) error { return nil }

func (d discard) AppendOnly() bool { return d.appendOnly }

// onceNumbers is a source without a cursor.
type onceNumbers struct{ n int }

func (s onceNumbers) Read(context.Context, dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[int, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[int, dataflow.NoCursor], error) bool) {
		for i := 1; i <= s.n && yield(dataflow.Item[int, dataflow.NoCursor]{Value: i}, nil); i++ {
		}
	}
}

// requirePublic checks that an error names the library, once.
func requirePublic(t require.TestingT, err error) {
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), "dataflow: "), "%s", err)
	require.Equal(t, 1, strings.Count(err.Error(), "dataflow: "), "%s", err)
}

// numbers yields 1 to n; the cursor is the last number.
type numbers struct{ n int }

func (s numbers) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= s.n; i++ {
			if !yield(dataflow.Item[int, int]{Value: i, Cursor: i, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

// minute returns a time in the test's hour.
func minute(m int) time.Time { return time.Date(2031, 2, 3, 4, m, 0, 0, time.UTC) }

// picky is a source whose Validate finds a fault.
type picky struct{ numbers }

func (picky) Validate() error {
	return errors.Join(errors.New("no path"), &dataflow.ConfigError{Field: "Comma", Reason: "it is a quote"})
}

// faults returns the faults in an error, by their field.
func faults(t *testing.T, err error) map[string]string {
	t.Helper()
	requirePublic(t, err)
	found := make(map[string]string)
	var collect func(err error)
	collect = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				collect(e)
			}
			return
		}
		if next := errors.Unwrap(err); next != nil {
			collect(next)
			return
		}
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce)
		require.NotContains(t, found, ce.Field)
		found[ce.Field] = ce.Reason
	}
	collect(err)
	return found
}

// requireFaults checks that an error holds exactly these faults: by their field, with a
// part of the reason.
func requireFaults(t *testing.T, err error, want map[string]string) {
	t.Helper()
	got := faults(t, err)
	for field, reason := range want {
		require.Contains(t, got, field)
		require.Contains(t, got[field], reason, field)
		require.ErrorContains(t, err, field+": ")
		delete(got, field)
	}
	require.Empty(t, got)
}

func TestNewClient_Faults(t *testing.T) {
	t.Parallel()
	identity, target := dataflow.Identity[int](), dataflow.ToTx(discard{})
	withRuntime := func(r dataflow.Runtime) *dataflow.Flow {
		return dataflow.NewFlow("f", numbers{}, identity, target, &dataflow.FlowOptions{Runtime: r})
	}
	withSource := func(s dataflow.Source[int, int]) *dataflow.Flow {
		return dataflow.NewFlow("f", s, identity, target, nil)
	}
	withTransform := func(tr dataflow.Transform[int, int]) *dataflow.Flow {
		return dataflow.NewFlow("f", numbers{}, tr, target, nil)
	}
	withTarget := func(to dataflow.Target[int]) *dataflow.Flow {
		return dataflow.NewFlow("f", numbers{}, identity, to, nil)
	}
	for name, c := range map[string]struct {
		flow *dataflow.Flow
		want map[string]string
	}{
		"NilFlow":          {nil, map[string]string{`Flows[0]`: "it is nil"}},
		"ZeroFlow":         {&dataflow.Flow{}, map[string]string{`Flows[""]`: "NewFlow"}},
		"NilSource":        {withSource(nil), map[string]string{`Flows["f"].Source`: "it is nil"}},
		"TypedNilSource":   {withSource((*numbers)(nil)), map[string]string{`Flows["f"].Source`: "it is nil"}},
		"PickySource":      {withSource(picky{}), map[string]string{`Flows["f"].Source`: "no path", `Flows["f"].Source.Comma`: "it is a quote"}},
		"NilPage":          {dataflow.NewFlow("f", dataflow.Paged[int, int](nil), identity, target, nil), map[string]string{`Flows["f"].Source.Paged`: "nil"}},
		"NilTransform":     {withTransform(nil), map[string]string{`Flows["f"].Transform`: "it is nil"}},
		"NilMap":           {withTransform(dataflow.Map[int, int](nil)), map[string]string{`Flows["f"].Transform`: "function is nil"}},
		"NilFilter":        {withTransform(dataflow.Filter[int](nil)), map[string]string{`Flows["f"].Transform`: "function is nil"}},
		"NilFlatMap":       {withTransform(dataflow.FlatMap[int, int](nil)), map[string]string{`Flows["f"].Transform`: "function is nil"}},
		"NilBatch":         {withTransform(dataflow.Batch[int, int](nil)), map[string]string{`Flows["f"].Transform`: "function is nil"}},
		"NilParallel":      {withTransform(dataflow.Parallel[int, int](2, nil)), map[string]string{`Flows["f"].Transform.transform of Parallel`: "it is nil"}},
		"NilInPipe":        {withTransform(dataflow.Pipe(dataflow.Map[int, int](nil), identity)), map[string]string{`Flows["f"].Transform.first stage of Pipe`: "function is nil"}},
		"NilPipe":          {withTransform(dataflow.Pipe[int, int, int](nil, nil)), map[string]string{`Flows["f"].Transform.first stage of Pipe`: "it is nil", `Flows["f"].Transform.second stage of Pipe`: "it is nil"}},
		"ZeroTarget":       {withTarget(dataflow.Target[int]{}), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"NilSink":          {withTarget(dataflow.To[int](nil)), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"NilTxSink":        {withTarget(dataflow.ToTx[int](nil)), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"TypedNilSink":     {withTarget(dataflow.To[int]((*discard)(nil))), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"TypedNilTxSink":   {withTarget(dataflow.ToTx[int]((*discard)(nil))), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"NilSinkFunc":      {withTarget(dataflow.To(dataflow.SinkFunc[int](nil))), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"NilTxSinkFunc":    {withTarget(dataflow.ToTx(dataflow.TxSinkFunc[int](nil))), map[string]string{`Flows["f"].Target`: "it is nil"}},
		"AppendsForEver":   {dataflow.NewFlow("f", onceNumbers{}, identity, dataflow.ToTx(discard{appendOnly: true}), nil), map[string]string{`Flows["f"].Target`: "use a source with a cursor"}},
		"Attempts":         {dataflow.NewFlow("f", numbers{}, identity, target, &dataflow.FlowOptions{MaxAttempts: -1}), map[string]string{`Flows["f"].MaxAttempts`: "-1 is negative: use 1 or more"}},
		"TypedNilRuntime":  {withRuntime((*dataflow.JobQueue)(nil)), map[string]string{`Flows["f"].Runtime`: "it is nil"}},
		"Heartbeat":        {withRuntime(dataflow.Heartbeat{Interval: -time.Second, BatchSize: -1}), map[string]string{`Flows["f"].Runtime.Interval`: "-1s is negative", `Flows["f"].Runtime.BatchSize`: "-1 is negative: use 1 or more"}},
		"JobQueue":         {withRuntime(dataflow.JobQueue{Interval: -1, BatchSize: -2, Priority: 5, Queue: "A"}), map[string]string{`Flows["f"].Runtime.Interval`: "negative", `Flows["f"].Runtime.BatchSize`: "negative", `Flows["f"].Runtime.Priority`: "5 is not a priority of River: use 1 (highest) to 4", `Flows["f"].Runtime.Queue`: `"A" is not a River queue: use`}},
		"NegativePriority": {withRuntime(dataflow.JobQueue{Priority: -1}), map[string]string{`Flows["f"].Runtime.Priority`: "-1"}},
		"PointerToRuntime": {withRuntime(&dataflow.JobQueue{Priority: 9}), map[string]string{`Flows["f"].Runtime.Priority`: "9"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{c.flow}})
			requireFaults(t, err, c.want)
		})
	}
}

func TestNewClient_Names(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                        "it is empty",
		strings.Repeat("n", 201):  "it has 201 bytes: use at most 200",
		strings.Repeat("é", 101):  "it has 202 bytes",
		"a\tb":                    "control character U+0009",
		"a\x00":                   "control character U+0000",
		"\x7f":                    "control character U+007F",
		" a":                      "space",
		"a ":                      "space",
		" ":                       "space",
		"a\xff":                   "UTF-8",
		".":                       "another address in the path of a URL",
		"..":                      "another address in the path of a URL",
		"...":                     "",
		"a":                       "",
		"Ünïcode / with: \"all\"": "",
		strings.Repeat("n", 200):  "",
	} {
		flow := dataflow.NewFlow(name, numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		if want == "" {
			require.NoError(t, err, "%q", name)
			continue
		}
		got := faults(t, err)
		require.Len(t, got, 1, "%q", name)
		for field, reason := range got {
			require.True(t, strings.HasPrefix(field, "Flows[") && strings.HasSuffix(field, "].Name"), field)
			require.Contains(t, reason, want)
		}
	}
}

func TestNewClient_Queues(t *testing.T) {
	t.Parallel()
	for queue, ok := range map[string]bool{
		"": true, "etl": true, "etl-2_b": true, "0": true, strings.Repeat("q", 64): true,
		"ETL": false, "e t l": false, "_": false, "a__b": false, "a-": false, "é": false, "a.b": false, strings.Repeat("q", 65): false,
	} {
		flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: queue}})
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		if ok {
			require.NoError(t, err, "%q", queue)
			continue
		}
		requireFaults(t, err, map[string]string{`Flows["f"].Runtime.Queue`: "use up to 64 lower-case letters"})
	}
}

func TestNewClient_AllAtOnce(t *testing.T) {
	t.Parallel()
	twin := func() *dataflow.Flow {
		return dataflow.NewFlow("twin", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
	}
	config := &dataflow.Config{
		Flows: []*dataflow.Flow{
			twin(), nil, twin(),
			dataflow.NewFlow[int, int, int](" x", nil, nil, dataflow.Target[int]{}, &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Priority: 5}, MaxAttempts: -3}),
		},
		MaxWorkers: -1, PollInterval: -time.Second, Schema: "ours", River: &river.Config{Schema: "theirs"},
	}
	want := map[string]string{
		`MaxWorkers`:                   "-1 is out of range: use 1 to 10000, or 0 for the default, 10",
		`PollInterval`:                 "-1s is negative: use a positive duration, or 0 for 1s",
		`Schema`:                       `"ours" is not River.Schema, "theirs": leave one of them empty`,
		`Flows["twin"].Name`:           "two flows have this name",
		`Flows[1]`:                     "it is nil",
		`Flows[" x"].Name`:             "space",
		`Flows[" x"].Source`:           "it is nil",
		`Flows[" x"].Transform`:        "it is nil",
		`Flows[" x"].Target`:           "it is nil",
		`Flows[" x"].MaxAttempts`:      "-3 is negative",
		`Flows[" x"].Runtime.Priority`: "5 is not a priority of River",
	}
	_, err := dataflow.NewClient(noDatabase{}, config)
	requireFaults(t, err, want)

	want[`driver`] = "use pgxpool.New"
	_, err = dataflow.NewClient(dataflowpgx.New(nil), config)
	requireFaults(t, err, want)
}

func TestNewClient_Driver(t *testing.T) {
	t.Parallel()
	_, err := dataflow.NewClient(nil, nil)
	requireFaults(t, err, map[string]string{"driver": "dataflowpgx.New(pool) or dataflowsqlite.New(db)"})
	_, err = dataflow.NewClient((*noDatabase)(nil), nil)
	requireFaults(t, err, map[string]string{"driver": "it is nil"})
	_, err = dataflow.NewClient(dataflowpgx.New(nil), nil)
	requireFaults(t, err, map[string]string{"driver": "dataflowpgx.New is nil: use pgxpool.New"})
	_, err = dataflow.NewClient(dataflowsqlite.New(nil), nil)
	requireFaults(t, err, map[string]string{"driver": "dataflowsqlite.New is nil: use sql.Open"})
	driver := dataflowsqlite.New(openExample())
	_, err = dataflow.NewClient(driver, &dataflow.Config{Schema: "s"})
	requireFaults(t, err, map[string]string{"Schema": `SQLite has no schemas, such as "s": leave it empty`})
	_, err = dataflow.NewClient(driver, &dataflow.Config{River: &river.Config{Schema: "s"}})
	requireFaults(t, err, map[string]string{"Schema": "leave it empty"})
	_, err = dataflow.NewClient(noDatabase{}, &dataflow.Config{MaxWorkers: 10_001})
	requireFaults(t, err, map[string]string{"MaxWorkers": "10001"})
	_, err = dataflow.NewClient(noDatabase{}, &dataflow.Config{Schema: "o'neil"})
	requireFaults(t, err, map[string]string{"Schema": `"o'neil" has an apostrophe, with which River cannot make its tables`})
	_, err = dataflow.NewClient(noDatabase{}, &dataflow.Config{Schema: "s", River: &river.Config{Schema: "s"}})
	require.NoError(t, err)
	_, err = dataflow.NewClient(noDatabase{}, nil)
	require.NoError(t, err)
}

func TestNewClient_RuntimeAdapter(t *testing.T) {
	t.Parallel()
	for _, adapter := range []string{"cron", "Heartbeat", "ActiveDataFlow::Runtime::ActiveJob", " "} {
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{RuntimeAdapter: adapter, MaxWorkers: -1})
		got := faults(t, err)
		require.Contains(t, got, "MaxWorkers", "all faults at once")
		require.Contains(t, got["RuntimeAdapter"], `"`+adapter+`" is not supported: use "heartbeat" or "job_queue"`)
	}
}

func TestNewClient_Schedules(t *testing.T) {
	t.Parallel()
	at := `Flows["f"].Runtime.`
	for name, c := range map[string]struct {
		interval time.Duration
		schedule dataflow.Schedule
		want     map[string]string
	}{
		"Both":          {time.Hour, dataflow.Schedule{Cron: "@daily"}, map[string]string{"Schedule.Cron": `"@daily" is set beside an Interval of 1h0m0s`}},
		"Short":         {time.Millisecond, dataflow.Schedule{}, map[string]string{"Interval": "1ms"}},
		"Odd":           {time.Second + 1, dataflow.Schedule{}, map[string]string{"Interval": "millisecond"}},
		"BadCron":       {0, dataflow.Schedule{Cron: "* * *"}, map[string]string{"Schedule.Cron": "5"}},
		"Every":         {0, dataflow.Schedule{Cron: "@every 5m"}, map[string]string{"Schedule.Cron": "Interval"}},
		"Never":         {0, dataflow.Schedule{Cron: "0 0 30 2 *"}, map[string]string{"Schedule.Cron": "never"}},
		"Zone":          {0, dataflow.Schedule{Cron: "@daily", TimeZone: "Mars/Base"}, map[string]string{"Schedule.TimeZone": "Mars/Base"}},
		"ZoneOfNothing": {time.Hour, dataflow.Schedule{TimeZone: "Europe/Berlin"}, map[string]string{"Schedule.TimeZone": "Cron"}},
		"EndFirst":      {time.Hour, dataflow.Schedule{Start: minute(10), End: minute(5)}, map[string]string{"Schedule.End": "before"}},
		"Stagger":       {time.Hour, dataflow.Schedule{Stagger: 2 * time.Hour}, map[string]string{"Schedule.Stagger": "2h0m0s"}},
		"Shifted":       {0, dataflow.Schedule{Cron: "0 4 * * *", Start: minute(0), End: minute(5), Stagger: 24 * time.Hour}, map[string]string{"Schedule.Stagger": "shifts the ticks of this flow by 1"}},
		"NoTicks": {0, dataflow.Schedule{CatchUp: dataflow.CatchUpNone, Start: minute(1), Stagger: time.Second}, map[string]string{
			"Schedule.CatchUp": "no ticks", "Schedule.Start": "no ticks", "Schedule.Stagger": "no ticks",
		}},
		"Overlap":     {time.Hour, dataflow.Schedule{Overlap: "never"}, map[string]string{"Schedule.Overlap": `"never" is not a policy: use OverlapSkip`}},
		"AllowNone":   {time.Hour, dataflow.Schedule{Overlap: dataflow.OverlapAllow(0)}, map[string]string{"Schedule.Overlap": `"allow_0" is not a policy`}},
		"AllowCursor": {time.Hour, dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}, map[string]string{"Schedule.Overlap": "one cursor"}},
		"CatchUp":     {time.Hour, dataflow.Schedule{CatchUp: "some"}, map[string]string{"Schedule.CatchUp": `"some" is not a policy`}},
		"AllOfSkip":   {time.Hour, dataflow.Schedule{CatchUp: dataflow.CatchUpAll}, map[string]string{"Schedule.CatchUp": `that Overlap "skip" then skips: use OverlapBufferAll`}},
		"MaxOfLatest": {time.Hour, dataflow.Schedule{CatchUpMax: 3}, map[string]string{"Schedule.CatchUpMax": "only CatchUpAll"}},
		"WindowNone":  {time.Hour, dataflow.Schedule{CatchUp: dataflow.CatchUpNone, CatchUpWindow: time.Hour}, map[string]string{"Schedule.CatchUpWindow": "leave one"}},
		"WindowShort": {time.Hour, dataflow.Schedule{CatchUpWindow: time.Second}, map[string]string{"Schedule.CatchUpWindow": "1s is less than"}},
		"PauseAfter":  {time.Hour, dataflow.Schedule{PauseAfter: -1}, map[string]string{"Schedule.PauseAfter": "negative"}},
		"ProbeAfter":  {time.Hour, dataflow.Schedule{ProbeAfter: time.Hour}, map[string]string{"Schedule.ProbeAfter": "set PauseAfter too"}},
		"Probe":       {time.Hour, dataflow.Schedule{PauseAfter: 1, ProbeAfter: -2}, map[string]string{"Schedule.ProbeAfter": "negative"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := make(map[string]string)
			for field, reason := range c.want {
				want[at+field] = reason
			}
			flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: c.interval, Schedule: c.schedule}})
			_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			requireFaults(t, err, want)
		})
	}
}

// RateLimit passes on no more records than the rate allows, even for two flows at once.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	limit := dataflow.RateLimit[int](1000)
	began := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 5 {
				var out dataflow.Results[int]
				if err := limit.Apply(context.Background(), make([]int, 20), &out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, dataflow.RateLimit[int](0.001).Apply(ctx, make([]int, 20), nil), context.Canceled)
	for _, rate := range []float64{0, -1} {
		flow := dataflow.NewFlow("f", numbers{}, dataflow.RateLimit[int](rate), dataflow.ToTx(discard{}), nil)
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		requireFaults(t, err, map[string]string{`Flows["f"].Transform`: "above 0"})
	}
}

// A transform can be tested without a flow.
func TestResults_Rows(t *testing.T) {
	t.Parallel()
	half := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) {
		if n < 0 {
			return nil, errors.New("negative")
		}
		return slices.Repeat([]int{n / 2}, n%3), nil
	})
	var out dataflow.Results[int]
	require.NoError(t, half.Apply(t.Context(), []int{4, -1, 5, 3}, &out))
	require.Equal(t, []int{2, 2, 2}, out.Rows())
	require.Equal(t, map[int]error{1: errors.New("negative")}, out.Failed())
}

// placed is a source with cursors of any type.
type placed[C any] struct{}

func (placed[C]) Read(context.Context, dataflow.Request[C]) iter.Seq2[dataflow.Item[int, C], error] {
	return func(func(dataflow.Item[int, C], error) bool) {}
}

type (
	hiddenPlace struct{ page int }
	untoldPlace struct {
		Page int `json:"-"`
	}
	promoted    struct{ Shown }
	Shown       struct{ Page int }
	writtenHere struct{ page int }
)

func (h hiddenPlace) String() string { return fmt.Sprint(h.page) }

func (w *writtenHere) MarshalJSON() ([]byte, error) { return json.Marshal(w.page) }

func TestNewClient_CursorIsEmpty(t *testing.T) {
	t.Parallel()
	_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{
		placedFlow[hiddenPlace]("hidden"), placedFlow[*hiddenPlace]("pointer"), placedFlow[untoldPlace]("untold"),
		placedFlow[promoted]("embedded"), placedFlow[writtenHere]("own"), placedFlow[time.Time]("time"),
		placedFlow[struct{ Page, row int }]("one field"), placedFlow[map[string]int]("map"),
	}})
	requireFaults(t, err, map[string]string{
		`Flows["hidden"].Source`:  "its cursor is a dataflow_test.hiddenPlace, which is {} as JSON",
		`Flows["pointer"].Source`: "its cursor is a dataflow_test.hiddenPlace",
		`Flows["untold"].Source`:  "export its fields",
	})
}

func placedFlow[C any](name string) *dataflow.Flow {
	return dataflow.NewFlow(name, placed[C]{}, dataflow.Identity[int](), dataflow.To(discard{}), nil)
}
