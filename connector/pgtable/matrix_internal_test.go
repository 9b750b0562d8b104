package pgtable

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// matrixWorkers is how many pairs are tried at once, each with a connection.
const matrixWorkers = 4

// matrixCounts counts what became of the values. A value counts once for each way to read
// and each way to write.
type matrixCounts struct{ cases, equal, refused, changed int }

// matrix is the result of all pairs of a Postgres type and a Go type.
type matrix struct {
	mu     sync.Mutex
	counts matrixCounts
	fails  []string
	exact  map[[2]string]bool   // the pairs that come out equal, whatever the value
	hints  map[[2]string]string // the pairs that errors recommend, and for which type
}

// matrixPair is a Postgres type and a Go type.
type matrixPair struct {
	*matrix
	typ    matrixType
	table  string
	goName string
	record reflect.Type // a struct of an ID and a V of the Go type

	pool   *pgxpool.Pool
	plain  *pgxpool.Pool
	counts matrixCounts
	fails  []string
	hints  []string // the Go types that errors recommend
}

func (p *matrixPair) fail(format string, args ...any) {
	p.fails = append(p.fails, fmt.Sprintf("%s → %s: ", p.typ.name, p.goName)+fmt.Sprintf(format, args...))
}

// matrixSample returns how many pairs there are for each that is tried.
func matrixSample() int {
	if dbtest.Race || os.Getenv("DATAFLOW_TEST_MATRIX") == "part" {
		return 8
	}
	return 1
}

// TestMatrix moves values of each type of Postgres through each Go type, in each way to read
// and to write. They come out as they went in, or an error names the column, the value, its
// type and a Go type that would do.
//
// With the race detector, or with DATAFLOW_TEST_MATRIX=part, it tries an eighth of the pairs, in which each
// type of Postgres and each Go type has its turns. On 13, 15 and 18 these are other ones.
// make versions tries all pairs, without the race detector.
func TestMatrix(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	version, types := createMatrix(t, pool)
	config := pool.Config()
	Plain(config)
	plain, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer plain.Close()

	goTypes := matrixGoTypes()
	m := &matrix{exact: make(map[[2]string]bool), hints: make(map[[2]string]string)}
	sample := matrixSample()
	// One worker tries all pairs of a table, so that no two write to it.
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range matrixWorkers {
		workers.Go(func() {
			for i := range jobs {
				for n, name := range slices.Sorted(maps.Keys(goTypes)) {
					goType := goTypes[name]
					if !types[i].mayHold(goType) || (i+n+version)%sample != 0 {
						continue
					}
					pair := &matrixPair{matrix: m, typ: types[i], table: fmt.Sprintf("m%d", i), goName: name, record: matrixRecord(goType), pool: pool, plain: plain}
					pair.add(pair.try(t.Context()))
				}
			}
		})
	}
	for i := range types {
		jobs <- i
	}
	close(jobs)
	workers.Wait()
	t.Logf("PostgreSQL %d: %d types of it, %d Go types, %d cases: %d equal, %d refused by name, %d changed", version, len(types), len(goTypes), m.counts.cases, m.counts.equal, m.counts.refused, m.counts.changed)
	for pair, goType := range m.hints {
		if pair == [2]string{"interval", "pgtype.Interval"} { // not for infinity, which 17 brought: only text holds it
			continue
		}
		if exact, tried := m.exact[pair]; !tried && sample == 1 || tried && !exact {
			m.fails = append(m.fails, fmt.Sprintf("HINT %s: use %s (of %s): tried %t", pair[0], pair[1], goType, tried))
		}
	}
	slices.Sort(m.fails)
	require.Empty(t, strings.Join(m.fails[:min(len(m.fails), 100)], "\n"), "%d faults, of which 100 at most are shown", len(m.fails))
	require.Zero(t, m.counts.changed)
}

// createMatrix makes two tables for each type that the server has: one with values, and one to
// write to.
func createMatrix(t *testing.T, pool *pgxpool.Pool) (version int, types []matrixType) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
	var available []string
	require.NoError(t, pool.QueryRow(t.Context(), `select array_agg(name::text) from pg_catalog.pg_available_extensions`).Scan(&available))
	types = slices.DeleteFunc(matrixTypes(), func(typ matrixType) bool {
		return typ.since > version || typ.extension != "" && !slices.Contains(available, typ.extension)
	})
	var script strings.Builder
	var made []string
	for _, typ := range types {
		if typ.extension != "" && !slices.Contains(made, typ.extension) {
			made = append(made, typ.extension)
			script.WriteString("create extension if not exists " + typ.extension + " cascade;\n")
		}
	}
	script.WriteString(matrixSchema)
	for i, typ := range types {
		fmt.Fprintf(&script, "create table m%d (id bigint primary key, v %s);\ncreate table m%[1]d_to (id bigint primary key, v %[2]s);\ninsert into m%[1]d values (0, null)", i, typ.name)
		for n, v := range typ.values {
			fmt.Fprintf(&script, ", (%d, E'%s')", n+1, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v))
		}
		script.WriteString(";\n")
	}
	_, err := pool.Exec(t.Context(), script.String())
	require.NoError(t, err)
	return version, types
}

func matrixRecord(goType reflect.Type) reflect.Type {
	return reflect.StructOf([]reflect.StructField{
		{Name: "ID", Type: reflect.TypeFor[int64]()},
		{Name: "V", Type: goType},
	})
}

// try reads in each way, and writes what it has read in each way.
func (p *matrixPair) try(ctx context.Context) error {
	query := Query{SQL: `select id, v from ` + p.table, Key: []string{"id"}, PageSize: len(p.typ.values)/2 + 1}
	all, err := p.readSelect(ctx, query.SQL+` order by id`)
	if err != nil {
		return fmt.Errorf("select: %w", err)
	}
	if !p.thorough() && (all.Len() == 0 || all.Len() == 1 && isNil(all.Index(0).Field(1))) { // nothing but NULL can be read
		return nil
	}
	pages, err := p.readKeyset(ctx, query)
	if err != nil {
		return fmt.Errorf("read page by page: %w", err)
	}
	if pages.Len() != all.Len() {
		p.fail("%d rows are read page by page, and %d in one pass", pages.Len(), all.Len())
	}
	if err := p.writeAll(ctx, "page by page", pages); err != nil {
		return err
	}
	if !reflect.DeepEqual(all.Interface(), pages.Interface()) { // NaN is not equal to itself
		if err := p.writeAll(ctx, "select", all); err != nil {
			return err
		}
	}
	return nil
}

func isNil(v reflect.Value) bool {
	return slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface}, v.Kind()) && v.IsNil()
}

// thorough reports whether to try even what costs much time and is seldom different.
func (p *matrixPair) thorough() bool {
	return slices.Contains([]string{"string", "*string", "any", "[]uint8", "pgtable.matrixText"}, p.goName)
}

// add adds what became of the pair.
func (p *matrixPair) add(err error) {
	if err != nil {
		p.fail("%v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.matrix.counts.cases += p.counts.cases
	p.matrix.counts.equal += p.counts.equal
	p.matrix.counts.refused += p.counts.refused
	p.matrix.counts.changed += p.counts.changed
	p.matrix.fails = append(p.matrix.fails, p.fails...)
	for _, hint := range p.hints {
		p.matrix.hints[[2]string{p.typ.name, hint}] = p.goName
	}
	p.exact[[2]string{p.typ.name, strings.NewReplacer("github.com/jackc/pgx/v5/", "", "encoding/", "", "net/netip", "netip", "uint8", "byte").Replace(p.goName)}] = p.counts.refused == 0 && p.counts.changed == 0
}

// readKeyset reads all pages. It returns the rows that can be read.
func (p *matrixPair) readKeyset(ctx context.Context, query Query) (reflect.Value, error) {
	rows := reflect.MakeSlice(reflect.SliceOf(p.record), 0, len(p.typ.values)+1)
	s := newKeyset(p.record, p.pool, query)
	if err := s.Validate(); err != nil {
		return rows, err
	}
	r := &reader{keyset: s, scratch: reflect.New(p.record).Elem()}
	var page []reflect.Value
	r.collect = func(scan *pageScan) {
		page = nil
		for scan.next() {
			v := reflect.New(p.record).Elem()
			v.Set(r.scratch)
			page = append(page, v)
		}
	}
	read := 0
	for from := Cursor(nil); ; {
		got, err := r.page(ctx, from)
		if err != nil {
			return rows, err
		}
		for i, v := range page {
			if bad := got.Bad[i]; bad != nil {
				p.counts.cases++
				p.refused("read page by page", read, bad)
			} else {
				rows = reflect.Append(rows, v)
			}
			read++
		}
		if !got.More {
			break
		}
		width := len(got.Keys) / (got.Rows + 1)
		from = got.Keys[width*(got.Rows-1) : width*got.Rows]
	}
	if read != len(p.typ.values)+1 {
		p.fail("%d of %d rows are read page by page", read, len(p.typ.values)+1)
	}
	return rows, nil
}

// readSelect reads all rows in one pass. It returns those that can be read.
func (p *matrixPair) readSelect(ctx context.Context, query string) (reflect.Value, error) {
	rows := reflect.MakeSlice(reflect.SliceOf(p.record), 0, len(p.typ.values)+1)
	record := reflect.New(p.record).Elem()
	read := 0
	err := newSelection(p.record, p.pool, query, nil).readAll(ctx, record, func(_ string, bad error) bool {
		if bad != nil {
			p.counts.cases++
			p.refused("select", read, bad)
		} else {
			rows = reflect.Append(rows, record)
		}
		read++
		return true
	})
	if read != len(p.typ.values)+1 {
		p.fail("%d of %d rows are selected", read, len(p.typ.values)+1)
	}
	return rows, err
}

// matrixAddress is an address in an error, which nobody can use.
var matrixAddress = regexp.MustCompile(`\b0x[0-9a-f]{6,}`)

// matrixHint finds the Go type that an error recommends.
var matrixHint = regexp.MustCompile(`: use ([*\[\]\w.]+)(?:, or|$)`)

// refused checks the error of a value.
func (p *matrixPair) refused(way string, row int, err error) {
	p.counts.refused++
	text := err.Error()
	if !strings.Contains(text, `column "v"`) || !strings.Contains(text, "use ") && !strings.Contains(text, "make the column ") || strings.Contains(text, "**") || matrixAddress.MatchString(text) {
		p.fail("%s: row %d: unclear error: %s", way, row, text)
	}
	if hint := matrixHint.FindStringSubmatch(text); hint != nil {
		p.hints = append(p.hints, hint[1])
	}
}

// matrixWay is a way to write rows.
type matrixWay struct {
	name     string
	upsert   bool
	copyFrom int  // see tableSink
	twice    bool // writes the rows again, which is redundant
	plain    bool // see Plain
	fenced   bool // see InsertTo
	replaces bool // see Replace
}

func matrixWays() []matrixWay {
	const always, never = 1, 1 << 30
	return []matrixWay{
		{name: "insert by COPY", copyFrom: always},
		{name: "insert by arrays", copyFrom: never},
		{name: "insert into another database", copyFrom: always, fenced: true},
		{name: "upsert by COPY, twice", upsert: true, copyFrom: always, twice: true}, // direct, then staged
		{name: "upsert by arrays, twice", upsert: true, copyFrom: never, twice: true},
		{name: "upsert, plain", upsert: true, copyFrom: always, plain: true},
		{name: "replace", copyFrom: always, replaces: true},
	}
}

// inTx calls write with what writes rows in a transaction, which is rolled back.
func (p *matrixPair) inTx(ctx context.Context, way matrixWay, write func(tx pgx.Tx, rows func(rows reflect.Value, results []dataflow.RowResult, part bool) error) error) error {
	pool := p.pool
	if way.plain {
		pool = p.plain
	}
	sink := newTableSink(p.record, p.table+"_to", way.upsert, []string{"id"})
	sink.copyFrom = way.copyFrom
	in := func(tx pgx.Tx) error {
		return errors.Join(write(tx, func(rows reflect.Value, results []dataflow.RowResult, part bool) error {
			if !way.replaces {
				return sink.write(ctx, tx, rows, results, part)
			}
			r, err := (&replacer{into: sink}).begin(ctx, tx, p.goName)
			if err != nil {
				return err
			}
			if err := r.rows.write(ctx, tx, rows, nil, part); err != nil {
				return err
			}
			return r.move(ctx, tx)
		}), errMatrixDone)
	}
	var err error
	if way.fenced {
		to := &fence{fencedPart: sink, pool: pool}
		flow := p.table + " " + p.goName
		if _, err := to.Claim(ctx, flow, 1); err != nil {
			return err
		}
		err = to.inTx(ctx, flow, 1, json.RawMessage("{}"), in)
	} else {
		err = pgx.BeginFunc(ctx, pool, in)
	}
	if err, ok := err.(interface{ Unwrap() []error }); ok {
		if errs := err.Unwrap(); len(errs) == 2 {
			return errs[0]
		}
		return nil
	}
	return err
}

// writeAll writes rows in each way, and compares what arrives.
func (p *matrixPair) writeAll(ctx context.Context, read string, rows reflect.Value) error {
	if rows.Len() == 0 {
		return nil
	}
	for _, way := range matrixWays() {
		if (way.fenced || way.replaces) && !p.thorough() {
			continue
		}
		name := read + ", " + way.name
		p.counts.cases += rows.Len()
		left := rows
		for left.Len() > 0 {
			bad, err := p.writeOnce(ctx, name, way, left)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if bad < 0 {
				break
			}
			if bad == left.Len() {
				if bad, err = p.findBad(ctx, name, way, left); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if bad < 0 {
					p.fail("%s: the batch is refused, and each row accepted", name)
					break
				}
			}
			rest := reflect.MakeSlice(left.Type(), 0, left.Len())
			rest = reflect.AppendSlice(rest, left.Slice(0, bad))
			left = reflect.AppendSlice(rest, left.Slice(bad+1, left.Len()))
		}
	}
	return nil
}

var errMatrixDone = errors.New("done")

// writeOnce writes rows in a transaction, compares them, and rolls back. It returns the row that
// was refused, or -1, or the number of rows if the flow must divide the batch.
func (p *matrixPair) writeOnce(ctx context.Context, name string, way matrixWay, rows reflect.Value) (bad int, err error) {
	bad = -1
	err = p.inTx(ctx, way, func(tx pgx.Tx, write func(reflect.Value, []dataflow.RowResult, bool) error) error {
		var results []dataflow.RowResult
		if way.upsert {
			results = make([]dataflow.RowResult, rows.Len())
		}
		err := write(rows, results, false)
		if err == nil && way.twice {
			err = write(rows, results, false)
		}
		var row *dataflow.RowError
		switch {
		case errors.As(err, &row) && row.Row >= 0 && row.Row < rows.Len():
			bad = row.Row
			p.refused(name, bad, err)
			return nil
		case err != nil:
			bad = rows.Len()
			return nil //nolint:nilerr // the rows are tried one by one
		}
		if i := slices.IndexFunc(results, func(r dataflow.RowResult) bool { return r != dataflow.RowRedundant }); i >= 0 && way.twice {
			p.fail("%s: row %d is written again: %#v", name, i, rows.Index(i).Field(1).Interface())
		}
		return p.compare(ctx, tx, name, rows)
	})
	return bad, err
}

// findBad writes each row alone, as a flow does after a batch was refused. It returns the first
// one that is refused, or -1.
func (p *matrixPair) findBad(ctx context.Context, name string, way matrixWay, rows reflect.Value) (bad int, err error) {
	bad = -1
	err = p.inTx(ctx, way, func(_ pgx.Tx, write func(reflect.Value, []dataflow.RowResult, bool) error) error {
		for i := range rows.Len() {
			if err := write(rows.Slice(i, i+1), nil, true); err != nil {
				bad = i
				p.refused(name, i, err)
				break
			}
		}
		return nil
	})
	return bad, err
}

// different is the condition that a value has changed. A Go type of numbers holds the number,
// without the zeros at its end, and in its precision. A Go type that decodes JSON holds what
// jsonb holds.
func (p *matrixPair) different() string {
	field := p.record.Field(1).Type
	for field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	base, _, _ := strings.Cut(strings.TrimSuffix(p.typ.name, "[]"), "(")
	dimensions := ""
	number := field
	if part := elements(field); part != nil {
		number, dimensions = part, "[]"
		if part.Kind() == reflect.Pointer {
			number = part.Elem()
		}
	}
	switch {
	case slices.Contains([]string{"json", "jsonb", "djson"}, p.typ.name) && !isText(field) && field != reflect.TypeFor[json.RawMessage]() && field != reflect.TypeFor[matrixText]():
		return "s.v::jsonb is distinct from d.v::jsonb"
	case strings.HasSuffix(p.typ.name, "[]") != (dimensions != ""):
		return "s.v::text is distinct from d.v::text"
	case isNumber(number) && slices.Contains([]string{"numeric", "dnum", "float8", "float4"}, base):
		kind := "numeric"
		switch {
		case number == reflect.TypeFor[float32]() || number == reflect.TypeFor[pgtype.Float4]():
			kind = "float4"
		case base == "float8" || base == "float4" || strings.Contains(p.goName, "loat"):
			kind = "float8"
		case number == reflect.TypeFor[pgtype.Numeric]():
			kind, dimensions = "text", ""
		}
		return "s.v::" + kind + dimensions + " is distinct from d.v::" + kind + dimensions
	case base == "interval" && field == reflect.TypeFor[time.Duration]():
		return "s.v is distinct from d.v" // a day is 24 hours
	default:
		return "s.v::text is distinct from d.v::text"
	}
}

// compare finds the written rows that differ from those that were read.
func (p *matrixPair) compare(ctx context.Context, tx pgx.Tx, way string, written reflect.Value) error {
	ids := make([]int64, written.Len())
	for i := range ids {
		ids[i] = written.Index(i).Field(0).Int()
	}
	rows, err := tx.Query(ctx, `select s.id, coalesce(s.v::text, 'NULL'), case when d.id is null then 'nothing' else coalesce(d.v::text, 'NULL') end
		from `+p.table+` s left join `+p.table+`_to d on d.id = s.id
		where s.id = any($1) and (d.id is null or `+p.different()+`)`, ids)
	if err != nil {
		return err
	}
	var id int64
	var before, after string
	equal := len(ids)
	_, err = pgx.ForEachRow(rows, []any{&id, &before, &after}, func() error {
		equal--
		p.counts.changed++
		v := written.Index(slices.Index(ids, id)).Field(1)
		p.fail("%s: CHANGED %q became %q (%#v)", way, before, after, v.Interface())
		return nil
	})
	p.counts.equal += equal
	return err
}

// matrixText keeps what its Scan gets, as a type of the user's may.
type matrixText struct{ kept driver.Value }

// Scan implements sql.Scanner.
func (v *matrixText) Scan(src any) error {
	switch src := src.(type) {
	case nil, string:
		v.kept = src
	case []byte:
		v.kept = bytes.Clone(src)
	default:
		return fmt.Errorf("a %T is no text", src)
	}
	return nil
}

// Value implements driver.Valuer.
func (v matrixText) Value() (driver.Value, error) { return v.kept, nil }

// matrixEnum is a string of the user's.
type matrixEnum string

// matrixGoTypes are the types of fields.
func matrixGoTypes() map[string]reflect.Type {
	list := []reflect.Type{
		reflect.TypeFor[string](),
		reflect.TypeFor[*string](),
		reflect.TypeFor[sql.NullString](),
		reflect.TypeFor[sql.Null[string]](),
		reflect.TypeFor[pgtype.Text](),
		reflect.TypeFor[any](),
		reflect.TypeFor[[]byte](),
		reflect.TypeFor[matrixText](),
		reflect.TypeFor[*bool](),
		reflect.TypeFor[pgtype.Bool](),
		reflect.TypeFor[*int64](),
		reflect.TypeFor[sql.NullInt64](),
		reflect.TypeFor[pgtype.Int8](),
		reflect.TypeFor[*uint64](),
		reflect.TypeFor[pgtype.Uint64](),
		reflect.TypeFor[*float64](),
		reflect.TypeFor[pgtype.Float8](),
		reflect.TypeFor[pgtype.Numeric](),
		reflect.TypeFor[*time.Time](),
		reflect.TypeFor[pgtype.Timestamptz](),
		reflect.TypeFor[pgtype.Timestamp](),
		reflect.TypeFor[pgtype.Date](),
		reflect.TypeFor[pgtype.Time](),
		reflect.TypeFor[pgtype.Interval](),
		reflect.TypeFor[*time.Duration](),
		reflect.TypeFor[pgtype.Bits](),
		reflect.TypeFor[*[16]byte](),
		reflect.TypeFor[json.RawMessage](),
		reflect.TypeFor[*json.RawMessage](),
		reflect.TypeFor[map[string]any](),
		reflect.TypeFor[*netip.Addr](),
		reflect.TypeFor[netip.Prefix](),
		reflect.TypeFor[[]string](),
		reflect.TypeFor[[]*string](),
		reflect.TypeFor[[]int32](),
		reflect.TypeFor[[]*int32](),
		reflect.TypeFor[[][]int32](),
		reflect.TypeFor[[]int64](),
		reflect.TypeFor[[]time.Time](),
		reflect.TypeFor[[][]byte](),
		reflect.TypeFor[pgtype.Array[*string]](),
		reflect.TypeFor[pgtype.Array[*int32]](),
		reflect.TypeFor[pgtype.Array[any]](),
		reflect.TypeFor[pgtype.FlatArray[int32]](),
		reflect.TypeFor[[]pgtype.Date](),
		reflect.TypeFor[pgtype.Range[pgtype.Int4]](),
		reflect.TypeFor[pgtype.Range[pgtype.Timestamptz]](),
		reflect.TypeFor[pgtype.Range[pgtype.Date]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Int4]]](),
		reflect.TypeFor[pgtype.Hstore](),
		reflect.TypeFor[map[string]*string](),
		reflect.TypeFor[pgtype.Point](),
		reflect.TypeFor[pgtype.Path](),
		reflect.TypeFor[pgtype.Polygon](),
		reflect.TypeFor[sql.NullTime](),
		reflect.TypeFor[sql.NullFloat64](),
		reflect.TypeFor[sql.NullBool](),
		reflect.TypeFor[sql.Null[time.Time]](),
		reflect.TypeFor[*int32](),
		reflect.TypeFor[*uint32](),
		reflect.TypeFor[*float32](),
		reflect.TypeFor[pgtype.Int4](),
		reflect.TypeFor[pgtype.Float4](),
		reflect.TypeFor[pgtype.UUID](),
		reflect.TypeFor[pgtype.TID](),
		reflect.TypeFor[pgtype.Uint32](),
		reflect.TypeFor[pgtype.Line](),
		reflect.TypeFor[pgtype.Lseg](),
		reflect.TypeFor[pgtype.Box](),
		reflect.TypeFor[pgtype.Circle](),
		reflect.TypeFor[pgtype.TSVector](),
		reflect.TypeFor[pgtype.Array[*bool]](),
		reflect.TypeFor[pgtype.Array[*int64]](),
		reflect.TypeFor[pgtype.Array[*uint32]](),
		reflect.TypeFor[pgtype.Array[*uint64]](),
		reflect.TypeFor[pgtype.Array[*float32]](),
		reflect.TypeFor[pgtype.Array[*float64]](),
		reflect.TypeFor[pgtype.Array[[]byte]](),
		reflect.TypeFor[pgtype.Array[json.RawMessage]](),
		reflect.TypeFor[pgtype.Array[netip.Prefix]](),
		reflect.TypeFor[pgtype.Array[net.HardwareAddr]](),
		reflect.TypeFor[pgtype.Array[pgtype.Numeric]](),
		reflect.TypeFor[pgtype.Array[pgtype.Time]](),
		reflect.TypeFor[pgtype.Array[pgtype.Timestamp]](),
		reflect.TypeFor[pgtype.Array[pgtype.Timestamptz]](),
		reflect.TypeFor[pgtype.Array[pgtype.Interval]](),
		reflect.TypeFor[pgtype.Array[pgtype.UUID]](),
		reflect.TypeFor[pgtype.Array[pgtype.Bits]](),
		reflect.TypeFor[pgtype.Array[pgtype.TSVector]](),
		reflect.TypeFor[pgtype.Array[pgtype.Point]](),
		reflect.TypeFor[pgtype.Array[pgtype.Box]](),
		reflect.TypeFor[pgtype.Array[pgtype.Range[pgtype.Int4]]](),
		reflect.TypeFor[pgtype.Array[pgtype.Range[pgtype.Date]]](),
		reflect.TypeFor[pgtype.Array[pgtype.Range[pgtype.Timestamptz]]](),
		reflect.TypeFor[pgtype.Array[pgtype.Multirange[pgtype.Range[pgtype.Int4]]]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Int8]]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Date]]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Timestamp]]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Timestamptz]]](),
		reflect.TypeFor[net.HardwareAddr](),
		reflect.TypeFor[*net.HardwareAddr](),
		reflect.TypeFor[[]any](),
		reflect.TypeFor[[]float64](),
		reflect.TypeFor[pgtype.Array[pgtype.Text]](),
		reflect.TypeFor[pgtype.Array[pgtype.Date]](),
		reflect.TypeFor[pgtype.Range[pgtype.Int8]](),
		reflect.TypeFor[pgtype.Range[pgtype.Numeric]](),
		reflect.TypeFor[pgtype.Range[pgtype.Timestamp]](),
		reflect.TypeFor[pgtype.Range[*time.Time]](),
		reflect.TypeFor[pgtype.Multirange[pgtype.Range[pgtype.Numeric]]](),
		reflect.TypeFor[matrixEnum](),
		reflect.TypeFor[*matrixEnum](),
		reflect.TypeFor[[]matrixEnum](),
		reflect.TypeFor[*[]byte](),
		reflect.TypeFor[[]*time.Time](),
		reflect.TypeFor[[]json.RawMessage](),
		reflect.TypeFor[[][]string](),
	}
	types := make(map[string]reflect.Type)
	for _, t := range list {
		types[nameOf(t)] = t
	}
	return types
}
