package csvfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

type Node struct{ X string }

func TestValidate(t *testing.T) {
	t.Parallel()
	const supported = "use a string, a bool, a number, a time.Time, a time.Duration, an encoding.TextUnmarshaler or a pointer to one of these, or tag it `csv:\"-\"`"
	open := func(opts csvfile.Options) any { return csvfile.Open[pair]("x.csv", &opts) }
	for _, tt := range []struct {
		name string
		src  any
		want []string
	}{
		{"Good", csvfile.Open[wide]("x.csv", nil), nil},
		{"Path", csvfile.Open[pair]("", nil), []string{"Path: it is empty: give the path of a CSV file"}},
		{"NotStruct", csvfile.Open[*pair]("x.csv", nil), []string{"T: it is *csvfile_test.pair: use a struct with a field for each column"}},
		{"Interface", csvfile.Open[any]("x.csv", nil), []string{"T: it is interface {}: use a struct with a field for each column"}},
		{"NoFields", csvfile.Open[struct{ a int }]("x.csv", nil), []string{"T: struct { a int } has no exported field to read a column into: add one"}},
		{"Unsupported", csvfile.Open[struct {
			A []byte
			B **int
			C Node
			D error
			E string
		}]("x.csv", nil), []string{
			"T.A: a cell cannot be read into []uint8: " + supported,
			"T.B: a cell cannot be read into **int: " + supported,
			"T.C: a cell cannot be read into csvfile_test.Node: " + supported,
			"T.D: a cell cannot be read into error: " + supported,
		}},
		{"EmbeddedPointer", csvfile.Open[struct{ *Node }]("x.csv", nil), []string{"T.Node: the field embeds the pointer *csvfile_test.Node: embed the struct itself, or tag it `csv:\"-\"`"}},
		{"InEmbedded", csvfile.Open[struct{ bad }]("x.csv", nil), []string{"T.bad.L: the tag has a layout, but int is not a time.Time: remove the layout"}},
		{"Unexported", csvfile.Open[struct {
			A string
			b string `csv:"b"`
		}]("x.csv", nil), []string{"T.b: the field has a csv tag but is not exported: begin its name with a capital letter"}},
		{"Tags", csvfile.Open[struct {
			A string    `csv:"a,omitempty"`
			B string    `csv:"'b"`
			C string    `csv:"''"`
			D time.Time `csv:"d,layout="`
			E time.Time `csv:"e,layout=YYYY-MM-DD"`
		}]("x.csv", nil), []string{
			`T.A: the tag has the unknown option "omitempty": use layout=…, or put a column name that holds a comma in single quotes`,
			`T.B: the tag "'b" has no closing single quote: add it`,
			`T.C: the tag "''" names no column: write a name between the quotes`,
			`T.D: the tag has the unknown option "layout=": use layout=…, or put a column name that holds a comma in single quotes`,
			`T.E: "YYYY-MM-DD" has no part of a time: write the moment 2006-01-02 15:04:05 in your layout`,
		}},
		{"Comma", open(csvfile.Options{Comma: '"'}), []string{`Comma: '"' cannot separate cells: use a character that is neither a quote nor a line break`}},
		{"Comment", open(csvfile.Options{Comment: '\n'}), []string{`Comment: '\n' cannot begin a comment: use a character that is neither a quote nor a line break`}},
		{"CommentIsComma", open(csvfile.Options{Comment: ','}), []string{`Comment: ',' is also the Comma: use another character`}},
		{"TimeLayouts", open(csvfile.Options{TimeLayouts: []string{time.DateOnly, ""}}), []string{`TimeLayouts[1]: "" has no part of a time: write the moment 2006-01-02 15:04:05 in your layout`}},
		{"MaxRecordBytes", open(csvfile.Options{MaxRecordBytes: -1}), []string{"MaxRecordBytes: -1 is negative: use 1 or more, or 0 for 16777216"}},
		{"All", csvfile.Open[int]("", &csvfile.Options{Comma: '\r', Comment: '\r'}), []string{
			"Path: it is empty: give the path of a CSV file",
			`Comma: '\r' cannot separate cells: use a character that is neither a quote nor a line break`,
			`Comment: '\r' cannot begin a comment: use a character that is neither a quote nor a line break`,
			`Comment: '\r' is also the Comma: use another character`,
			"T: it is int: use a struct with a field for each column",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, ok := tt.src.(dataflow.Validator)
			require.True(t, ok)
			require.Equal(t, tt.want, configErrors(t, v.Validate()))
		})
	}
}

type bad struct {
	L int `csv:"l,layout=2006"`
}

// configErrors splits a joined error.
func configErrors(t *testing.T, err error) (list []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, configErrors(t, e)...)
		}
		return list
	}
	var wrong *dataflow.ConfigError
	require.ErrorAs(t, err, &wrong)
	return []string{wrong.Error()}
}

func TestRead_Unvalidated(t *testing.T) {
	t.Parallel()
	_, err := read(t, csvfile.Open[pair]("", nil), nil)
	require.EqualError(t, err, "CSV file: Path: it is empty: give the path of a CSV file")
	requirePermanent(t, err)
	var wrong *dataflow.ConfigError
	require.ErrorAs(t, err, &wrong)
}

func TestHeader(t *testing.T) {
	t.Parallel()
	type row struct {
		FlightDate string
		Cost       string `csv:"Cost Total $"`
		base
	}
	for _, tt := range []struct{ name, header, want string }{
		{"Good", "flight date,Cost Total $,ID,full name", ""},
		{"Untagged", "FLIGHT_DATE,Cost Total $,i_d,full name", ""},
		{"Missing", "Flight Date,Full Name,Cost", `the header has no column "Cost Total $", for the field Cost; the header has no column with the name of the field base.ID; the header has no column "full name", for the field base.Name. The columns are "Flight Date", "Full Name", "Cost"`},
		{"Twice", "flightdate,Cost Total $,id,full name,full name", `the header has 2 columns for the field base.Name: "full name", "full name". The columns are "flightdate", "Cost Total $", "id", "full name", "full name"`},
		{"Ambiguous", "flightdate,Flight Date,Cost Total $,id,full name", `the header has 2 columns for the field FlightDate: "flightdate", "Flight Date". The columns are "flightdate", "Flight Date", "Cost Total $", "id", "full name"`},
		{"TwiceUnused", "x,x,flightdate,Cost Total $,id,full name", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.header+"\n")
			_, err := read(t, csvfile.Open[row](path, nil), nil)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "CSV file "+path+": "+tt.want)
			requirePermanent(t, err)
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d, ok := csvfile.Open[pair]("a/b.csv", nil).(dataflow.Describer)
	require.True(t, ok)
	require.Equal(t, dataflow.Description{Type: "csvfile", Detail: map[string]any{"path": "a/b.csv"}}, d.Describe())
}

func TestOpen_CopiesOptions(t *testing.T) {
	t.Parallel()
	opts := &csvfile.Options{Null: []string{"NA"}}
	src := csvfile.Open[struct{ P *int }](write(t, "P\nNA\n"), opts)
	opts.Null[0], opts.Comma = "x", '"'
	all, err := read(t, src, nil)
	require.NoError(t, err)
	require.Empty(t, all[0].Err)
}
