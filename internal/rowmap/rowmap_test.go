package rowmap_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

type Base struct {
	ID        int64
	CreatedAt time.Time
}

type money struct{ cents int64 }

type inner struct{ Deep string }

type outer struct {
	inner
	Wide string `db:"wide column,omitempty"`
}

type record struct {
	Base
	outer
	money
	time.Time
	Tagged  Base `db:"tagged"`
	Left    int  `db:"-"`
	Empty   int  `db:""`
	private int
	Pointer *Base
}

func isMoney(t reflect.Type) bool {
	return t == reflect.TypeFor[money]()
}

func TestOf(t *testing.T) {
	t.Parallel()
	p, err := rowmap.Of(reflect.TypeFor[record](), isMoney)
	require.NoError(t, err)
	require.Equal(t, []string{"id", "created_at", "deep", "wide column", "time", "tagged", "empty", "pointer"}, p.Names())
	require.Equal(t, "outer.inner.Deep", p.Columns[2].Field)
	require.Equal(t, reflect.TypeFor[string](), p.Columns[2].Type)
	require.Equal(t, 3, p.Index("wide column"))
	require.Equal(t, -1, p.Index("left"))

	var r record
	pointers := p.Pointers(&r)
	*pointers[0].(*int64) = 7
	*pointers[2].(*string) = "deep"
	require.EqualValues(t, 7, r.ID)
	require.Equal(t, "deep", r.Deep)
	require.Equal(t, "deep", p.Columns[2].In(reflect.ValueOf(r)).String())
	require.Zero(t, r.private+int(r.cents))
}

func TestOf_Errors(t *testing.T) {
	t.Parallel()
	for want, typ := range map[string]reflect.Type{
		"<nil> is not a struct: use a struct with a field for each column":                                                            nil,
		"*rowmap_test.Base is not a struct: use a struct with a field for each column":                                                reflect.TypeFor[*Base](),
		"interface {} is not a struct: use a struct with a field for each column":                                                     reflect.TypeFor[any](),
		"struct {} has no exported fields: add one for each column":                                                                   reflect.TypeFor[struct{}](),
		"time.Time has no exported fields: add one for each column":                                                                   reflect.TypeFor[time.Time](),
		"field Base of struct { *rowmap_test.Base } embeds a pointer: embed rowmap_test.Base itself, or leave it out with `db:\"-\"`": reflect.TypeFor[struct{ *Base }](),
		"fields Base.ID and ID of struct { rowmap_test.Base; ID int } have the same column \"id\": rename one with a db tag, or leave it out with `db:\"-\"`": reflect.TypeFor[struct {
			Base
			ID int
		}](),
	} {
		_, err := rowmap.Of(typ, isMoney)
		require.EqualError(t, err, want)
	}
}

func TestSnakeCase(t *testing.T) {
	t.Parallel()
	type names struct {
		ID, OrderID, HTTPServer, UserID2, X, XYZ, PaidAt, A1B, OAuth2Token, Snake_Case, ÜberGröße, IDs, JSONs int
	}
	p, err := rowmap.Of(reflect.TypeFor[names](), isMoney)
	require.NoError(t, err)
	require.Equal(t, []string{
		"id", "order_id", "http_server", "user_id2", "x", "xyz", "paid_at", "a1_b", "o_auth2_token", "snake_case", "über_größe", "ids", "jsons",
	}, p.Names())
}

func TestPlan_Match(t *testing.T) {
	t.Parallel()
	p, err := rowmap.Of(reflect.TypeFor[Base](), isMoney)
	require.NoError(t, err)
	require.NoError(t, p.Match([]string{"created_at", "id"}, nil))
	require.NoError(t, p.Match([]string{"created_at", "seq", "id"}, []string{"seq"}))
	require.EqualError(t, p.Match([]string{"id", "a", "b"}, []string{"b"}),
		"the query and the fields of rowmap_test.Base do not match: columns without a field: a; fields without a column: created_at (field CreatedAt)")
	require.EqualError(t, p.Match([]string{"id", "created_at", "ID"}, nil),
		"the query and the fields of rowmap_test.Base do not match: columns without a field: ID; fields without a column: none")
	require.EqualError(t, p.Match([]string{"id", "created_at", "id"}, nil), `the query returns two columns named "id": rename one with "as"`)
}

func TestSplitTable(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"orders":           {"orders"},
		"Shop.Orders":      {"Shop", "Orders"},
		"my schema.select": {"my schema", "select"},
		`a.b"c`:            {"a", `b"c`},
		`"a.b"`:            {"a.b"},
		`"a"."b""."`:       {"a", `b".`},
		`"a.b".c`:          {"a.b", "c"},
		`a."b.c"`:          {"a", "b.c"},
	} {
		parts, err := rowmap.SplitTable(name)
		require.NoError(t, err, name)
		require.Equal(t, want, parts)
	}
	for _, name := range []string{"", ".", "a.", ".a", `""`, `a.""`, `"a`, `"a"b`, `"a""`, "a.b.c", "a\x00", "\xff"} {
		_, err := rowmap.SplitTable(name)
		require.Error(t, err, name)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	require.Equal(t, "select 1 from t", rowmap.Clip(" select 1\n\tfrom t "))
	require.Equal(t, strings.Repeat("ü", 200)+"…", rowmap.Clip(strings.Repeat("ü", 201)))
	require.Equal(t, strings.Repeat("ü", 200), rowmap.Clip(strings.Repeat("ü", 200)))
}

// The texts of keys are JSON, as package json writes it.
func TestRowKeys(t *testing.T) {
	t.Parallel()
	type named string
	type row struct {
		Int    int64
		Small  *int16
		Uint   uint8
		Text   string
		Named  *named
		Number json.Number
		At     time.Time
		UUID   [2]byte
		Float  float64
	}
	key := []string{"int", "small", "uint", "text", "named", "number", "at", "uuid", "float"}
	plan, err := rowmap.Of(reflect.TypeFor[row](), func(reflect.Type) bool { return false })
	require.NoError(t, err)
	small, text := int16(-7), named("é")
	rows := []row{
		{Int: -1 << 63, Small: &small, Uint: 255, Text: "plain ~", Named: &text, Number: "1.50", At: time.Unix(0, 0).UTC(), UUID: [2]byte{1, 2}, Float: 0.1},
		{Text: `a "quoted" \ <b> & more`, Number: "1"},
		{Text: "\x00\u2028\xff", Number: "1"},
		{Number: "1"},
	}
	for _, of := range [][]string{key, {"int", "small", "uint", "text"}, {"text"}, {"named", "small"}, {"number", "int"}} {
		got := rowmap.RowKeys(rows, plan, of)
		for i := range rows {
			values := make([]any, len(of))
			for j, name := range of {
				values[j] = plan.Columns[plan.Index(name)].In(reflect.ValueOf(&rows[i]).Elem()).Interface()
			}
			want, err := json.Marshal(values)
			require.NoError(t, err)
			require.Equal(t, string(want), got[i])
		}
	}
	require.Equal(t, []string{"[+Inf]"}, rowmap.RowKeys([]row{{Float: math.Inf(1)}}, plan, []string{"float"}), "there is no such JSON")
}
