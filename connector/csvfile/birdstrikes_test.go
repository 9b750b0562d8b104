package csvfile_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

const birdstrikes = "../../testdata/birdstrikes.csv"

// strike has a field for each column of the file.
type strike struct {
	Airport   string    `csv:"Airport Name"`
	Aircraft  string    `csv:"Aircraft Make Model"`
	Damage    string    `csv:"Effect Amount of damage"`
	Date      time.Time `csv:"Flight Date,layout=2006-01-02"`
	Operator  string    `csv:"Aircraft Airline Operator"`
	State     string    `csv:"Origin State"`
	Phase     string    `csv:"Phase of flight"`
	Size      size      `csv:"Wildlife Size"`
	Species   string    `csv:"Wildlife Species"`
	TimeOfDay string
	Other     int64  `csv:"Cost Other"`
	Repair    int64  `csv:"Cost Repair"`
	Total     int64  `csv:"Cost Total $"`
	Speed     *int64 `csv:"Speed IAS in knots"`
}

func TestBirdstrikes(t *testing.T) {
	t.Parallel()
	src := csvfile.Open[strike](birdstrikes, nil)
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Len(t, all, 10_000)
	require.Equal(t, 10_000, count(t, src, nil))

	data, err := os.ReadFile(birdstrikes)
	require.NoError(t, err)
	plain, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	require.NoError(t, err)
	noSpeed, total := 0, int64(0)
	for i, g := range all {
		if g.Err != "" || g.Key != "line "+strconv.Itoa(i+2) || !slices.Equal(plain[i+1], g.Value.cells()) {
			require.Fail(t, "not what the file has", "%+v, not %q", g, plain[i+1])
		}
		total += g.Value.Total
		if g.Value.Speed == nil {
			noSpeed++
		}
	}
	require.Equal(t, 2836, noSpeed)
	require.Positive(t, total)
	require.Equal(t, time.Date(1990, 1, 8, 0, 0, 0, 0, time.UTC), all[0].Value.Date)
	require.EqualValues(t, len(data), all[len(all)-1].Cursor.Offset)

	for i := 0; i < len(all); i += 2499 {
		rest, err := read(t, src, &all[i].Cursor)
		require.NoError(t, err)
		require.Equal(t, all[i+1:], rest)
	}
}

// cells returns a strike as it is written in the file.
func (s *strike) cells() []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	speed := ""
	if s.Speed != nil {
		speed = number(*s.Speed)
	}
	return []string{
		s.Airport, s.Aircraft, s.Damage, s.Date.Format(time.DateOnly), s.Operator, s.State, s.Phase, string(s.Size), s.Species,
		s.TimeOfDay, number(s.Other), number(s.Repair), number(s.Total), speed,
	}
}

// TestRead_Allocations requires that a record costs one allocation for the memory
// of its strings, and one for each pointer that is not nil.
func TestRead_Allocations(t *testing.T) { //nolint:paralleltest // counts the allocations of the whole process
	type noPointer struct {
		Airport string    `csv:"Airport Name"`
		Date    time.Time `csv:"Flight Date"`
		Total   int64     `csv:"Cost Total $"`
		Size    size      `csv:"Wildlife Size"`
	}
	src := csvfile.Open[noPointer](birdstrikes, nil)
	perRead := testing.AllocsPerRun(3, func() {
		for _, err := range src.Read(t.Context(), request(nil)) {
			require.NoError(t, err)
		}
	})
	require.Less(t, perRead, 10_000+200.0)
}

func BenchmarkRead(b *testing.B) {
	src := csvfile.Open[strike](birdstrikes, nil)
	benchmark(b, func() (n int) {
		for _, err := range src.Read(b.Context(), request(nil)) {
			if err != nil { // calls to require are slow
				b.Fatal(err)
			}
			n++
		}
		return n
	})
}

// BenchmarkEncodingCSV is the lower bound for BenchmarkRead: it reads the same file
// without fields, types and cursors.
func BenchmarkEncodingCSV(b *testing.B) {
	benchmark(b, func() (n int) {
		f, err := os.Open(birdstrikes)
		require.NoError(b, err)
		defer func() { require.NoError(b, f.Close()) }()
		r := csv.NewReader(f)
		r.ReuseRecord = true
		for {
			if _, err := r.Read(); err != nil {
				return n - 1 // the header
			}
			n++
		}
	})
}

func BenchmarkCount(b *testing.B) {
	counter, ok := csvfile.Open[strike](birdstrikes, nil).(dataflow.Counter[csvfile.Cursor])
	require.True(b, ok)
	benchmark(b, func() int {
		n, err := counter.Count(b.Context(), request(nil))
		require.NoError(b, err)
		return int(n)
	})
}

func benchmark(b *testing.B, readAll func() int) {
	b.Helper()
	stat, err := os.Stat(birdstrikes)
	require.NoError(b, err)
	b.SetBytes(stat.Size())
	b.ReportAllocs()
	for b.Loop() {
		require.Equal(b, 10_000, readAll())
	}
}
