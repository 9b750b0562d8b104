package pgtable

import (
	"reflect"
	"slices"
	"strings"
)

// matrixType is a type of Postgres with values that are easily changed on their way.
type matrixType struct {
	name   string
	values []string // NULL is added
	since  int      // the first version of Postgres that has the type, or these values

	extension string // the extension that has the type
}

// mayHold reports whether to try a Go type. Those of arrays and ranges are tried with the types
// that have parts, or that take many Go types.
func (t matrixType) mayHold(goType reflect.Type) bool {
	hasParts := elements(goType) != nil || boundOf(goType) != nil
	return !hasParts || strings.Contains(t.name, "[") || strings.Contains(t.name, "range") ||
		slices.Contains([]string{"text", "json", "jsonb", "xml", "darray", "floats", "hstore", "citext", "point", "bytea", "uuid", "oidvector"}, t.name)
}

const matrixSchema = `
create type mood as enum ('', 'sad', 'ok', 'it''s, "happy"', 'NULL');
create type pair as (a integer, b text); create type nest as (p pair, t timestamptz, m mood[]);
create type floats as range (subtype = float8); create type words as range (subtype = text);
create domain dint as integer; create domain dtext as text check (value <> 'x'); create domain dts as timestamptz; create domain dmood as mood;
create domain darray as integer[]; create domain drange as int4range; create domain dpair as pair; create domain djson as jsonb; create domain ddint as dint;
create domain dbytea as bytea; create domain dnum as numeric(10,2);
`

// matrixTypes are all types of Postgres and of the extensions that come with it that a
// table can have, but for those that hold internal states.
func matrixTypes() []matrixType {
	return []matrixType{
		{name: "bool", values: []string{"t", "f"}},
		{name: `"char"`, values: []string{"", "A", "'"}},
		{name: "name", values: []string{"", "a", `"`}},
		{name: "bytea", values: []string{`\x`, `\x00`, `\x5c5c`, `\xff27`}},
		{name: "int2", values: []string{"0", "-32768", "32767"}},
		{name: "int4", values: []string{"0", "-2147483648", "2147483647"}},
		{name: "int8", values: []string{"0", "-9223372036854775808", "9007199254740993", "9223372036854775807"}},
		{name: "float4", values: []string{"0", "-0", "0.1", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "16777217"}},
		{name: "float8", values: []string{"0", "-0", "0.1", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "0.30000000000000004"}},
		{name: "numeric", values: []string{"0", "0.00", "2.00", "100.000", "-1.10", "123456789012345678901234567890.123456789", "1e-30", "9007199254740993", "NaN"}},
		{name: "numeric", values: []string{"Infinity", "-Infinity"}, since: 14},
		{name: "numeric(10,2)", values: []string{"0.10", "-12345678.90"}},
		{name: "money", values: []string{"0", "-1234.56", "92233720368547758.07"}},
		{name: "text", values: []string{"", " ", "null", "NULL", `\N`, `\.`, "a\nb\tc", `"q"`, "ünï🦆", "{}", "1"}},
		{name: "varchar", values: []string{"", "a "}},
		{name: "varchar(5)", values: []string{"", "abcde"}},
		{name: "char(3)", values: []string{"", "a", "abc"}},
		{name: "json", values: []string{"null", `"null"`, `""`, `"5"`, "5", "1.10", "12345678901234567890", `{"a": 1.10, "a": 2}`, ` [1,  null] `, `{"b":{"c":"\u00e9"}}`, "true", "[]", "{}"}},
		{name: "jsonb", values: []string{"null", `"null"`, `""`, `"5"`, "5", "1.10", "12345678901234567890", `{"a": 1.10}`, "[1, null]", "true", `"a<b>&"`, `{"k": "a<b>&"}`, "[]", "{}"}},
		{name: "jsonpath", values: []string{`$."a"`, "1"}},
		{name: "xml", values: []string{"<a>b</a>", "text", ""}},
		{name: "uuid", values: []string{"00000000-0000-0000-0000-000000000000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}},
		{name: "date", values: []string{"2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "10000-01-01", "5874897-12-31", "4713-01-01 BC"}},
		{name: "time", values: []string{"00:00", "23:59:59.999999", "24:00"}},
		{name: "time(0)", values: []string{"12:34:56"}},
		{name: "timetz", values: []string{"00:00+00", "24:00-15:59", "12:34:56.789+05:30"}},
		{name: "timestamp", values: []string{"2024-02-29 12:34:56.789012", "infinity", "-infinity", "0044-03-15 00:00:00 BC", "0001-01-01 00:00", "10000-01-01 00:00", "294276-12-31 23:59:59.999999", "1883-11-18 12:00"}},
		{name: "timestamptz", values: []string{"2024-03-31 02:30:00+01", "infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "0001-01-01 00:00+00", "10000-01-01 00:00+00", "294276-12-31 23:59:59.999999+00", "1883-11-18 12:00+00", "4713-01-01 00:00+00 BC"}},
		{name: "timestamptz(0)", values: []string{"2024-03-31 02:30:00+01"}},
		{name: "interval", values: []string{"0", "1 day", "24:00", "1 mon", "-1 mon +2 days -03:04:05.000006", "178000000 years", "00:00:00.000001", "200000:00:00"}},
		{name: "interval", values: []string{"infinity", "-infinity"}, since: 17},
		{name: "interval year to month", values: []string{"1-2"}},
		{name: "bit(3)", values: []string{"000", "101"}},
		{name: "bit(1)", values: []string{"0", "1"}},
		{name: "varbit", values: []string{"", "1", "101010101"}},
		{name: "inet", values: []string{"10.0.0.1", "10.0.0.1/8", "::1", "::ffff:1.2.3.4/128", "fe80::1/64"}},
		{name: "cidr", values: []string{"10.0.0.0/8", "::/0", "10.0.0.1/32"}},
		{name: "macaddr", values: []string{"08:00:2b:01:02:03"}},
		{name: "macaddr8", values: []string{"08:00:2b:01:02:03:04:05"}},
		{name: "point", values: []string{"(0,0)", "(-0.1,1e300)", "(NaN,Infinity)"}},
		{name: "line", values: []string{"{1,-1,0.1}"}},
		{name: "lseg", values: []string{"[(0,0),(1,0.1)]"}},
		{name: "box", values: []string{"(1,1),(0,0)"}},
		{name: "path", values: []string{"((0,0),(1,0.1))", "[(0,0),(1,0.1)]"}},
		{name: "polygon", values: []string{"((0,0),(1,0.1),(2,0))"}},
		{name: "circle", values: []string{"<(0,0),0.1>"}},
		{name: "tsvector", values: []string{"", "'a':1A,3 'b c'"}},
		{name: "tsquery", values: []string{"", "'a' & !'b':*"}},
		{name: "pg_lsn", values: []string{"0/0", "16/B374D848"}},
		{name: "xid", values: []string{"0", "4294967295"}},
		{name: "xid8", values: []string{"0", "18446744073709551615"}},
		{name: "cid", values: []string{"7"}},
		{name: "tid", values: []string{"(0,1)", "(4294967295,65535)"}},
		{name: "oid", values: []string{"0", "4294967295"}},
		{name: "regclass", values: []string{"pg_class", "-"}},
		{name: "regtype", values: []string{"integer", "mood", "-"}},
		{name: "regproc", values: []string{"boolin"}},
		{name: "regprocedure", values: []string{"abs(integer)"}},
		{name: "regoper", values: []string{"0"}},
		{name: "regoperator", values: []string{"+(integer,integer)"}},
		{name: "regnamespace", values: []string{"pg_catalog"}},
		{name: "regrole", values: []string{"pg_monitor"}},
		{name: "regconfig", values: []string{"english"}},
		{name: "regdictionary", values: []string{"simple"}},
		{name: "regcollation", values: []string{`"C"`}},
		{name: "pg_snapshot", values: []string{"10:20:10,14,15"}},
		{name: "txid_snapshot", values: []string{"10:20:10,14,15"}},
		{name: "aclitem", values: []string{"pg_monitor=r*w/pg_monitor"}},
		{name: "refcursor", values: []string{"", "c"}},
		{name: "oidvector", values: []string{"", "1 2"}},
		{name: "int2vector", values: []string{"", "1 -2"}},

		{name: "int4range", values: []string{"empty", "[1,5)", "(,)", "[1,)", "(,5)"}},
		{name: "int8range", values: []string{"empty", "[1,9223372036854775807)"}},
		{name: "numrange", values: []string{"empty", "(1.10,2]", "[0.00,2.00)", "[1,NaN]"}},
		{name: "daterange", values: []string{"empty", "[2024-01-01,2024-02-01)", "[2024-01-01,infinity]", "[2024-01-01,infinity)", "[-infinity,)", "(,2024-01-01)"}},
		{name: "tsrange", values: []string{"empty", `["2024-01-01 00:00:00","2024-02-01 00:00:00.5"]`, "[-infinity,infinity]", "(,)"}},
		{name: "tstzrange", values: []string{"empty", `["2024-01-01 00:00:00+00","2024-02-01 00:00:00.5+00"]`, "[-infinity,infinity]", "(,)"}},
		{name: "floats", values: []string{"empty", "[0.1,0.30000000000000004)"}},
		{name: "words", values: []string{"empty", `["",b)`, `["a,b","c\"d"]`}},
		{name: "int4multirange", values: []string{"{}", "{[1,3),[5,7)}", "{(,)}"}, since: 14},
		{name: "int8multirange", values: []string{"{}", "{[1,3)}"}, since: 14},
		{name: "nummultirange", values: []string{"{}", "{[1.10,3]}"}, since: 14},
		{name: "datemultirange", values: []string{"{}", "{[2024-01-01,2024-02-01),[2025-01-01,)}"}, since: 14},
		{name: "tsmultirange", values: []string{"{}", `{["2024-01-01 00:00:00","2024-02-01 00:00:00"]}`}, since: 14},
		{name: "tstzmultirange", values: []string{"{}", `{["2024-01-01 00:00:00+00",)}`}, since: 14},

		{name: "bool[]", values: []string{"{}", "{t,NULL,f}"}},
		{name: "int2[]", values: []string{"{}", "{1,NULL}", "{{1,2},{3,4}}"}},
		{name: "int4[]", values: []string{"{}", "{1,2}", "{1,NULL}", "{NULL}", "{{1,2},{3,4}}", "[0:1]={1,2}", "[2:3][-1:0]={{1,2},{3,4}}", "{{{1}}}"}},
		{name: "int8[]", values: []string{"{}", "{9007199254740993}"}},
		{name: "float4[]", values: []string{"{0.1,NaN,-0}"}},
		{name: "float8[]", values: []string{"{0.1,NaN,Infinity}"}},
		{name: "numeric[]", values: []string{"{1.10,NaN}", "{0.00,2.00}", "{12345678901234567890.5}"}},
		{name: "text[]", values: []string{"{}", `{""}`, `{NULL}`, `{"NULL"}`, `{"a,b","c\"d","e\\f"," "}`, `{{a,b}}`, "[0:0]={a}"}},
		{name: "varchar(3)[]", values: []string{"{}", `{"",abc}`}},
		{name: "char(3)[]", values: []string{`{"a  "}`}},
		{name: "name[]", values: []string{"{a}"}},
		{name: `"char"[]`, values: []string{`{a}`, `{""}`}},
		{name: "bytea[]", values: []string{"{}", `{"\\x","\\x00ff",NULL}`}},
		{name: "uuid[]", values: []string{"{}", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8,NULL}"}},
		{name: "date[]", values: []string{"{2024-01-01,infinity,NULL}", `{"0044-03-15 BC"}`}},
		{name: "time[]", values: []string{"{24:00:00}"}},
		{name: "timetz[]", values: []string{"{12:00:00+02}"}},
		{name: "timestamp[]", values: []string{`{"2024-01-01 00:00:00",infinity}`}},
		{name: "timestamptz[]", values: []string{`{"2024-01-01 00:00:00+00",infinity}`, "{NULL}"}},
		{name: "interval[]", values: []string{`{"1 mon",01:00:00}`}},
		{name: "json[]", values: []string{`{NULL,"null","{\"a\": 1.10}","\"5\""}`, "{}"}},
		{name: "jsonb[]", values: []string{`{NULL,"null","{\"a\": 1.10}","\"5\"",12345678901234567890}`}},
		{name: "inet[]", values: []string{"{10.0.0.1/8,::1}"}},
		{name: "cidr[]", values: []string{"{10.0.0.0/8}"}},
		{name: "macaddr[]", values: []string{"{08:00:2b:01:02:03}"}},
		{name: "point[]", values: []string{`{"(0,1)"}`}},
		{name: "box[]", values: []string{`{(1,1),(0,0);(2,2),(1,1)}`}},
		{name: "bit(3)[]", values: []string{"{101}"}},
		{name: "varbit[]", values: []string{`{"",1}`}},
		{name: "oid[]", values: []string{"{4294967295}"}},
		{name: "money[]", values: []string{`{$1.00}`}},
		{name: "xml[]", values: []string{"{<a/>}"}},
		{name: "int4range[]", values: []string{`{"[1,5)",empty}`}},
		{name: "daterange[]", values: []string{`{"[2024-01-01,2024-02-01)"}`}},
		{name: "tstzrange[]", values: []string{`{"[\"2024-01-01 00:00:00+00\",)"}`}},
		{name: "int4multirange[]", values: []string{`{"{[1,3),[5,7)}"}`}, since: 14},
		{name: "tsvector[]", values: []string{`{"'a':1"}`}},

		{name: "mood", values: []string{"", "sad", `it's, "happy"`, "NULL"}},
		{name: "mood[]", values: []string{"{}", `{"",sad,NULL,"NULL"}`, "{{sad}}"}},
		{name: "pair", values: []string{"(,)", `(1,"")`, `(1,"a,b""c")`}},
		{name: "pair[]", values: []string{`{"(1,a)",NULL}`}},
		{name: "nest", values: []string{`("(1,a)","2024-01-01 00:00:00+00","{sad,ok}")`, "(,,)"}},
		{name: "dint", values: []string{"1", "-1"}},
		{name: "ddint", values: []string{"1"}},
		{name: "dtext", values: []string{"", "a"}},
		{name: "dts", values: []string{"2024-01-01 00:00:00+00", "infinity"}},
		{name: "dmood", values: []string{"", "sad"}},
		{name: "darray", values: []string{"{}", "{1,NULL}", "[0:0]={1}", "{{1}}"}},
		{name: "drange", values: []string{"empty", "[1,5)"}},
		{name: "dpair", values: []string{"(1,a)"}},
		{name: "djson", values: []string{"null", `{"a": 1.10}`, `"5"`}},
		{name: "dbytea", values: []string{`\x`, `\x00`}},
		{name: "dnum", values: []string{"1.10"}},

		{name: "citext", values: []string{"", "aB"}, extension: "citext"},
		{name: "citext[]", values: []string{"{}", `{"",aB}`}, extension: "citext"},
		{name: "hstore", values: []string{"", `"a"=>"1", "b"=>NULL`, `""=>""`, `"a"=>"NULL"`}, extension: "hstore"},
		{name: "hstore[]", values: []string{`{"\"a\"=>\"1\""}`}, extension: "hstore"},
		{name: "ltree", values: []string{"", "a.b"}, extension: "ltree"},
		{name: "ltree[]", values: []string{"{a.b}"}, extension: "ltree"},
		{name: "lquery", values: []string{"a.*{1,2}.b"}, extension: "ltree"},
		{name: "ltxtquery", values: []string{"a & b*"}, extension: "ltree"},
		{name: "cube", values: []string{"(0)", "(1, 2),(3, 4.1)", "(0.30000000000000004)"}, extension: "cube"},
		{name: "earth", values: []string{"(6378168, 0, 0)"}, extension: "earthdistance"},
		{name: "seg", values: []string{"1.0", "1.0 .. 2.00", "~1", "< 1"}, extension: "seg"},
		{name: "isbn", values: []string{"0-11-000322-?"}, extension: "isn"},
		{name: "isbn13", values: []string{"978-0-11-000322-?"}, extension: "isn"},
		{name: "ean13", values: []string{"978-0-11-000322-?"}, extension: "isn"},
		{name: "issn", values: []string{"1436-452?"}, extension: "isn"},
		{name: "ismn", values: []string{"M-060-11561-?"}, extension: "isn"},
		{name: "upc", values: []string{"22035648348?"}, extension: "isn"},
		{name: "lo", values: []string{"5"}, extension: "lo"},
		{name: "geometry", values: []string{"POINT(1 2.1)", "SRID=4326;POINT Z (1 2 3)", "POINT EMPTY", "POLYGON((0 0,1 0,1 1,0 0))"}, extension: "postgis"},
		{name: "geometry(Point,4326)", values: []string{"SRID=4326;POINT(1 2.1)"}, extension: "postgis"},
		{name: "geography", values: []string{"POINT(1 2.1)", "LINESTRING(0 0,1 1)"}, extension: "postgis"},
		{name: "box2d", values: []string{"BOX(0 0,1 1.1)"}, extension: "postgis"},
		{name: "box3d", values: []string{"BOX3D(0 0 0,1 1 1.1)"}, extension: "postgis"},
		{name: "query_int", values: []string{"1 & (2 | 3)"}, extension: "intarray"},
	}
}
