package csvfile_test

import (
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/csvfile"
)

type size string

type base struct {
	ID   int64
	Name string `csv:"full name"`
}

type inner struct{ Deep uint8 }

type Mixin struct{ inner }

type wide struct {
	base
	Mixin
	OK      bool
	I8      int8
	U16     uint16
	F32     float32
	Size    size
	Took    time.Duration
	At      time.Time
	Day     time.Time  `csv:"day,layout=Jan 2, 2006"`
	Until   *time.Time `csv:",layout=02.01.2006"`
	Comma   string     `csv:"'x, y'"`
	Dash    string     `csv:"'-'"`
	Addr    netip.Addr
	Big     *big.Int
	Note    *string
	Count   *int64
	Ignored chan int `csv:"-"`
	_       int
}

const wideHeader = "id,full name,DEEP,ok,i8,u16,f32,size,took,at,day,until,\"x, y\",-,addr,big,note,count\n"

func TestCells(t *testing.T) {
	t.Parallel()
	path := write(t, wideHeader+
		`7,Åse,255,true,-128,65535,1.5,Large,1m30s,2020-02-29,"Mar 4, 2021",31.12.1999,c,d,::1,123456789012345678901234567890,hello,-5`+"\n"+
		`8,,0,F,0,0,1e3,,-1s,2020-02-29 01:02:03.5,"Mar 4, 2021",,,,,,,`+"\n"+
		`9,,0,1,0,0,0,,0,2020-02-29T01:02:03+02:00,"Mar 4, 2021",,,,,0,,0`+"\n")
	all, last := read(t, csvfile.Open[wide](path, nil), nil)
	require.NoError(t, last)
	require.Len(t, all, 3)
	for _, g := range all {
		require.Empty(t, g.Err)
	}
	day := time.Date(2021, 3, 4, 0, 0, 0, 0, time.UTC)
	until := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	note, n := "hello", int64(-5)
	number, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	require.Equal(t, wide{
		base: base{ID: 7, Name: "Åse"}, Mixin: Mixin{inner{255}}, OK: true, I8: -128, U16: 65535, F32: 1.5, Size: "Large",
		Took: 90 * time.Second, At: time.Date(2020, 2, 29, 0, 0, 0, 0, time.UTC), Day: day, Until: &until,
		Comma: "c", Dash: "d", Addr: netip.IPv6Loopback(), Big: number, Note: &note, Count: &n,
	}, all[0].Value)
	// Nothing remains of the previous record.
	require.Equal(t, wide{
		base: base{ID: 8}, F32: 1000, Took: -time.Second, Day: day,
		At: time.Date(2020, 2, 29, 1, 2, 3, 500_000_000, time.UTC),
	}, all[1].Value)
	require.True(t, time.Date(2020, 2, 28, 23, 2, 3, 0, time.UTC).Equal(all[2].Value.At))
	require.Zero(t, *all[2].Value.Count)
}

func TestCells_Bad(t *testing.T) {
	t.Parallel()
	const want = "2006-01-02 or 2006-01-02 15:04:05 or 2006-01-02T15:04:05Z07:00"
	header := "N,F,B,D,Day,Short,Addr,Ptr,Opt\n"
	good := []string{"1", "1", "true", "1s", "2020-01-01", "31.12.99", "::1", "1", ""}
	type row struct {
		N     int8
		F     float64
		B     bool
		D     time.Duration
		Day   time.Time
		Short time.Time `csv:"Short,layout=02.01.06"`
		Addr  netip.Addr
		Ptr   *uint8
		Opt   *time.Time
	}
	for _, tt := range []struct {
		name string
		at   int
		cell string
		want string
	}{
		{"Good", 0, "1", ""},
		{"NotInt", 0, "1.5", `column "N": "1.5" is not a valid int8`},
		{"IntRange", 0, "300", `column "N": "300" is out of range for int8`},
		{"IntNull", 0, "", `column "N": "" is null, but int8 cannot be null: use *int8`},
		{"NotFloat", 1, "x", `column "F": "x" is not a valid float64`},
		{"NotBool", 2, "yes", `column "B": "yes" is not a valid bool`},
		{"NotDuration", 3, "12", `column "D": "12" is not a valid time.Duration`},
		{"NotDate", 4, "1990-13-01", `column "Day": "1990-13-01" is not a valid time.Time: want ` + want},
		{"NotTime", 4, "1990-12-01 25:00:00", `column "Day": "1990-12-01 25:00:00" is not a valid time.Time: want ` + want},
		{"DateNull", 4, "", `column "Day": "" is null, but time.Time cannot be null: use *time.Time`},
		{"LayoutOfTag", 5, "1999-12-31", `column "Short": "1999-12-31" is not a valid time.Time: want 02.01.06`},
		{"NotAddr", 6, "x", `column "Addr": "x" is not a valid netip.Addr: ParseAddr("x"): unable to parse IP`},
		{"PointerRange", 7, "-1", `column "Ptr": "-1" is not a valid uint8`},
		{"PointerDate", 8, "soon", `column "Opt": "soon" is not a valid time.Time: want ` + want},
		{"Long", 0, strings.Repeat("x", 300), `column "N": "` + strings.Repeat("x", 100) + `"… is not a valid int8`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cells := append([]string(nil), good...)
			cells[tt.at] = tt.cell
			path := write(t, header+strings.Join(cells, ",")+"\n"+strings.Join(good, ",")+"\n")
			all, last := read(t, csvfile.Open[row](path, nil), nil)
			require.NoError(t, last)
			require.Len(t, all, 2, "the read goes on")
			require.Equal(t, tt.want, all[0].Err)
			require.Equal(t, "line 2", all[0].Key)
			require.Empty(t, all[1].Err)
		})
	}
}

func TestOptions_Null(t *testing.T) {
	t.Parallel()
	type row struct {
		P *string
		S string
	}
	p := func(s string) *string { return &s }
	for _, tt := range []struct {
		name string
		opts csvfile.Options
		want []row
	}{
		{"Default", csvfile.Options{}, []row{{nil, ""}, {p("NA"), "NA"}, {p(" "), " "}}},
		{"Texts", csvfile.Options{Null: []string{"NA"}}, []row{{p(""), ""}, {nil, ""}, {p(" "), " "}}},
		{"None", csvfile.Options{Null: []string{}}, []row{{p(""), ""}, {p("NA"), "NA"}, {p(" "), " "}}},
		{"Trimmed", csvfile.Options{TrimSpace: true}, []row{{nil, ""}, {p("NA"), "NA"}, {nil, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all, last := read(t, csvfile.Open[row](write(t, "P,S\n,\nNA,NA\n , \n"), &tt.opts), nil)
			require.NoError(t, last)
			var rows []row
			for _, g := range all {
				rows = append(rows, g.Value)
			}
			require.Equal(t, tt.want, rows)
		})
	}
}

func TestOptions_TimeLayouts(t *testing.T) {
	t.Parallel()
	// Each record uses the first layout that fits it.
	opts := &csvfile.Options{TimeLayouts: []string{"01/02/2006", "02/01/2006"}}
	all, last := read(t, csvfile.Open[struct{ D time.Time }](write(t, "D\n13/01/2020\n02/01/2020\n2020-01-01\n"), opts), nil)
	require.NoError(t, last)
	require.Equal(t, time.Date(2020, 1, 13, 0, 0, 0, 0, time.UTC), all[0].Value.D)
	require.Equal(t, time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC), all[1].Value.D)
	require.Equal(t, `column "D": "2020-01-01" is not a valid time.Time: want 01/02/2006 or 02/01/2006`, all[2].Err)
}

func TestOptions_TimeLayouts_Abbreviations(t *testing.T) {
	t.Parallel()
	opts := &csvfile.Options{TimeLayouts: []string{time.RFC1123, time.RFC1123Z}}
	body := "D\n\"Fri, 02 Jan 2026 10:00:00 UTC\"\n\"Fri, 02 Jan 2026 10:00:00 GMT\"\n\"Fri, 02 Jan 2026 10:00:00 -0500\"\n" +
		"\"Fri, 02 Jan 2026 10:00:00 EST\"\n\"Fri, 02 Jan 2026 10:00:00 GMT+3\"\n"
	all, last := read(t, csvfile.Open[struct{ D time.Time }](write(t, body), opts), nil)
	require.NoError(t, last)
	require.Len(t, all, 5)
	for i, hour := range []int{10, 10, 15} {
		require.Empty(t, all[i].Err)
		require.Equal(t, time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC), all[i].Value.D.UTC())
	}
	require.Equal(t, `column "D": "Fri, 02 Jan 2026 10:00:00 EST" is not a valid time.Time: the abbreviation "EST" does not say which zone it is: want UTC, GMT, or an offset, with -0700 in the layout`, all[3].Err)
	require.Contains(t, all[4].Err, `the abbreviation "GMT+3" does not say which zone it is`)
}

// Beside an offset, an abbreviation is no riddle: so package time writes a time itself.
func TestOptions_TimeLayouts_AbbreviationBesideOffset(t *testing.T) {
	t.Parallel()
	opts := &csvfile.Options{TimeLayouts: []string{"2006-01-02 15:04:05 -0700 MST"}}
	all, last := read(t, csvfile.Open[struct{ D time.Time }](write(t, "D\n2026-01-02 10:00:00 +0100 CET\n2026-01-02 10:00:00 -0500 EST\n"), opts), nil)
	require.NoError(t, last)
	require.Len(t, all, 2)
	for i, hour := range []int{9, 15} {
		require.Empty(t, all[i].Err)
		require.Equal(t, time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC), all[i].Value.D.UTC())
	}
}
