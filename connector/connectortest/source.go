package connectortest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// SourceConfig tells [TestSource] how to create the sources to test.
type SourceConfig[T, C any] struct {
	// Make returns a source of exactly these records. It is called many times, also
	// without records. Required.
	Make func(t *testing.T, rows []T) dataflow.Source[T, C]

	// Rows returns n records for Make. Required.
	Rows func(n int) []T

	// MakeBad returns a source of these records, with one that cannot be read
	// before rows[at]; at may be len(rows). Nil skips the tests of bad records.
	MakeBad func(t *testing.T, rows []T, at int) dataflow.Source[T, C]

	// MakeFailing returns a source of these records that fails after rows[:at], such as
	// one of a server that breaks the connection there. at may be 0. The read need not yield
	// all of rows[:at], and must end with an error: a loop that does not ask for the error
	// of its scanner or rows takes a part for the whole. Nil skips its test.
	MakeFailing func(t *testing.T, rows []T, at int) dataflow.Source[T, C]

	// Reopen returns another source of the same records, as after a restart of the
	// process. Reads then go on there from the cursors of the first one. Nil skips its test.
	Reopen func(t *testing.T, src dataflow.Source[T, C]) dataflow.Source[T, C]

	// Huge returns a record of a megabyte or more. Nil skips its test.
	Huge func() T

	// Waiting returns a source whose read waits for its first record for ever, such
	// as one of a server that does not answer. Nil skips its test.
	Waiting func(t *testing.T) dataflow.Source[T, C]

	// Open returns how many files, connections or the like a source from Make holds
	// open. Nil skips the check that they are closed.
	Open func(src dataflow.Source[T, C]) int

	// Many is the number of records of the sources that are read whole, over the borders of
	// pages and buffers, or cancelled. A cancelled read must end within 1,024 records. 0 means 3,000.
	Many int

	// Patience is the longest time that a step may take. 0 means a minute.
	Patience time.Duration

	// ReadOnce is for a source whose records can be read only once, such as a
	// channel. The source must have no cursor.
	ReadOnce bool
}

// few is the number of records of most sources here. They are read from each resume
// point, so the cost grows with the square.
const few = 23

// soon is the number of records that may follow after the context was cancelled.
const soon = 1024

// TestSource runs the contract of a [dataflow.Source] as subtests of t.
func TestSource[T, C any](t *testing.T, config SourceConfig[T, C]) {
	t.Helper()
	require.NotNil(t, config.Make, "SourceConfig.Make is required")
	require.NotNil(t, config.Rows, "SourceConfig.Rows is required")
	if config.Many == 0 {
		config.Many = 3000
	}
	if config.Patience == 0 {
		config.Patience = time.Minute
	}
	s := &sourceSuite[T, C]{SourceConfig: config}
	for _, c := range []struct {
		name string
		skip string
		test func(t *testing.T)
	}{
		{name: "Empty", test: s.empty},
		{name: "All", test: s.all},
		{name: "Twice", test: s.twice, skip: when(s.ReadOnce, "the source can be read only once")},
		{name: "Resume", test: s.resume, skip: when(!hasCursor[C](), "the source has no cursor")},
		{name: "Many", test: s.many},
		{name: "Reopened", test: s.reopened, skip: when(s.Reopen == nil || !hasCursor[C](), "SourceConfig.Reopen is nil, or the source has no cursor")},
		{name: "Committed", test: s.committed, skip: when(!hasCursor[C]() || !s.acks(t), "the source is not a dataflow.Acker, or has no cursor")},
		{name: "Failing", test: s.failing, skip: when(s.MakeFailing == nil, "SourceConfig.MakeFailing is nil")},
		{name: "Goroutines", test: s.goroutines, skip: when(s.ReadOnce, "the source can be read only once")},
		{name: "CancelledBefore", test: s.cancelledBefore},
		{name: "CancelledWithin", test: s.cancelledWithin},
		{name: "CancelledWaiting", test: s.cancelledWaiting, skip: when(s.Waiting == nil, "SourceConfig.Waiting is nil")},
		{name: "BreakOff", test: s.breakOff},
		{name: "BadRecord", test: s.badRecord, skip: when(s.MakeBad == nil, "SourceConfig.MakeBad is nil")},
		{name: "HugeRecord", test: s.huge, skip: when(s.Huge == nil, "SourceConfig.Huge is nil")},
		{name: "Count", test: s.count, skip: when(!s.counts(t), "the source is not a dataflow.Counter")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.skip != "" {
				t.Skip(c.skip)
			}
			c.test(t)
		})
	}
}

type sourceSuite[T, C any] struct{ SourceConfig[T, C] }

func (s *sourceSuite[T, C]) empty(t *testing.T) {
	t.Helper()
	src := s.Make(t, nil)
	validate(t, src)
	all := s.read(t, src, dataflow.Request[C]{})
	require.NoError(t, all.err, "a source of no records is no error")
	require.Empty(t, all.rows())
	for _, mark := range all.items { // a mark, if any, can be resumed from
		rest := s.read(t, src, s.from(t, mark.Cursor))
		require.NoError(t, rest.err)
		require.Empty(t, rest.rows())
	}
}

func (s *sourceSuite[T, C]) all(t *testing.T) {
	t.Helper()
	for _, n := range []int{1, 2, few} {
		rows := s.Rows(n)
		require.Len(t, rows, n, "SourceConfig.Rows(%d)", n)
		src := s.Make(t, rows)
		validate(t, src)
		all := s.read(t, src, dataflow.Request[C]{})
		require.NoError(t, all.err)
		require.Empty(t, all.bad)
		require.Equal(t, rows, all.rows())
		requireNamed(t, all)
		if hasCursor[C]() {
			last := all.items[len(all.items)-1]
			require.True(t, last.Resume || last.Mark, "the last record is not a resume point, and no mark follows it: the next run would read it again")
		}
	}
}

func (s *sourceSuite[T, C]) twice(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	first := s.read(t, src, dataflow.Request[C]{})
	second := s.read(t, src, dataflow.Request[C]{})
	require.NoError(t, first.err)
	require.NoError(t, second.err)
	require.Equal(t, first.items, second.items, "a second read yields other records, keys or cursors")
}

// resume reads from each resume point, and requires that no record is lost or
// repeated.
func (s *sourceSuite[T, C]) resume(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	s.resumeEverywhere(t, src, src, 1)
}

// reopened does so in another process.
func (s *sourceSuite[T, C]) reopened(t *testing.T) {
	t.Helper()
	first := s.Make(t, s.Rows(few))
	s.resumeEverywhere(t, first, s.Reopen(t, first), 1)
}

// many reads over the borders of pages and buffers, which a few records do not reach.
func (s *sourceSuite[T, C]) many(t *testing.T) {
	t.Helper()
	rows := s.Rows(s.Many)
	src := s.Make(t, rows)
	all := s.read(t, src, dataflow.Request[C]{})
	require.NoError(t, all.err)
	requireSame(t, rows, all.rows(), "a read of %d records", len(rows))
	requireNamed(t, all)
	if hasCursor[C]() {
		s.resumeEverywhere(t, src, src, max(1, len(rows)/5))
	}
}

// committed tells an Acker of each checkpoint, though it has read all records before, as the
// engine reads ahead. It must acknowledge no record after the checkpoint.
func (s *sourceSuite[T, C]) committed(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	acker, ok := src.(dataflow.Acker[C])
	require.True(t, ok)
	all := s.read(t, src, dataflow.Request[C]{})
	require.NoError(t, all.err)
	for i, item := range all.items {
		if !item.Resume && !item.Mark {
			continue
		}
		require.NoError(t, acker.Committed(t.Context(), item.Cursor), "Committed at %s", text(item.Cursor))
		rest := s.read(t, src, s.from(t, item.Cursor))
		require.NoError(t, rest.err, "resumed after Committed at %s", text(item.Cursor))
		requireSame(t, after(all, i).rows(), rest.rows(), "resumed after Committed at %s", text(item.Cursor))
	}
}

func (s *sourceSuite[T, C]) acks(t *testing.T) bool {
	t.Helper()
	_, ok := s.Make(t, nil).(dataflow.Acker[C])
	return ok
}

// failing requires that a read which breaks off says so.
func (s *sourceSuite[T, C]) failing(t *testing.T) {
	t.Helper()
	rows := s.Rows(few)
	for _, at := range []int{0, 1, few / 2} {
		src := s.MakeFailing(t, rows, at)
		all := s.read(t, src, dataflow.Request[C]{})
		require.Error(t, all.err, "a read that fails after %d of %d records ends with an error; without one, the run is a success", at, few)
		got := all.rows()
		require.LessOrEqual(t, len(got), at, "the records before the failure")
		for i, row := range got {
			require.Equal(t, rows[i], row, "record %d, before the failure", i+1)
		}
	}
}

// resumeEverywhere reads first, and then src from every step-th resume point and the last one.
func (s *sourceSuite[T, C]) resumeEverywhere(t *testing.T, first, src dataflow.Source[T, C], step int) {
	t.Helper()
	all := s.read(t, first, dataflow.Request[C]{})
	require.NoError(t, all.err)
	points := 0
	for i, item := range all.items {
		if !item.Resume && !item.Mark {
			continue
		}
		if points++; points%step != 0 && i != len(all.items)-1 {
			continue
		}
		rest := s.read(t, src, s.from(t, item.Cursor))
		require.NoError(t, rest.err, "resumed after item %d, at %s", i+1, text(item.Cursor))
		want := after(all, i)
		requireSame(t, want.rows(), rest.rows(), "resumed after item %d, at %s", i+1, text(item.Cursor))
		requireSame(t, want.keys(), rest.keys(), "the keys of the records after item %d, at %s", i+1, text(item.Cursor))
	}
	require.NotZero(t, points, "the source has a cursor, but no resume point")
}

func (s *sourceSuite[T, C]) badRecord(t *testing.T) {
	t.Helper()
	rows := s.Rows(few)
	for _, at := range []int{0, few / 2, few} {
		src := s.MakeBad(t, rows, at)
		all := s.read(t, src, dataflow.Request[C]{})
		require.NoError(t, all.err, "a bad record is a *dataflow.RecordError, which does not end the read")
		require.Len(t, all.bad, 1, "one record that cannot be read precedes record %d", at+1)
		require.NotEmpty(t, all.bad[0].Key, "the error of a bad record has its key")
		require.Error(t, all.bad[0].Err, "the error of a bad record says what is wrong")
		require.Equal(t, rows, all.rows(), "the records around a bad one")
		requireNamed(t, all)
		if hasCursor[C]() {
			s.resumeEverywhere(t, src, src, 1)
		}
		left := s.readWith(t.Context(), t, s.MakeBad(t, rows, at), dataflow.Request[C]{}, func(read int) bool { return read <= at })
		require.NoError(t, left.err)
		require.Len(t, left.bad, 1, "the bad record is the last one read")
		s.requireClosed(t, src)
	}
}

func (s *sourceSuite[T, C]) huge(t *testing.T) {
	t.Helper()
	rows := s.Rows(3)
	rows[1] = s.Huge()
	src := s.Make(t, rows)
	all := s.read(t, src, dataflow.Request[C]{})
	require.NoError(t, all.err)
	require.Len(t, all.rows(), 3)
	for i, row := range all.rows() { // require.Equal would print too much
		require.True(t, reflect.DeepEqual(rows[i], row), "record %d, next to a huge one, has changed", i+1)
	}
}

func (s *sourceSuite[T, C]) count(t *testing.T) {
	t.Helper()
	src := s.Make(t, s.Rows(few))
	counter, ok := src.(dataflow.Counter[C])
	require.True(t, ok)
	all := s.read(t, src, dataflow.Request[C]{})
	n, err := counter.Count(t.Context(), dataflow.Request[C]{})
	require.NoError(t, err)
	require.EqualValues(t, few, n)
	for i, item := range all.items {
		if item.Resume || item.Mark {
			n, err := counter.Count(t.Context(), s.from(t, item.Cursor))
			require.NoError(t, err)
			require.EqualValues(t, len(after(all, i).rows()), n, "counted after item %d", i+1)
		}
	}
	s.requireClosed(t, src)
}

func (s *sourceSuite[T, C]) counts(t *testing.T) bool {
	t.Helper()
	_, ok := s.Make(t, nil).(dataflow.Counter[C])
	return ok
}

func (s *sourceSuite[T, C]) requireClosed(t *testing.T, src dataflow.Source[T, C]) {
	t.Helper()
	if s.Open != nil {
		require.Zero(t, s.Open(src), "the read has left something open")
	}
}

// validate requires that the source's or sink's own check accepts it.
func validate(t *testing.T, part any) {
	t.Helper()
	if v, ok := part.(dataflow.Validator); ok {
		require.NoError(t, v.Validate())
	}
	if d, ok := part.(dataflow.Describer); ok {
		require.NotEmpty(t, d.Describe().Type, "a description has a type")
	}
}

func when(is bool, reason string) string {
	if is {
		return reason
	}
	return ""
}

// text formats a cursor.
func text(cursor any) string { return fmt.Sprintf("%+v", cursor) }
