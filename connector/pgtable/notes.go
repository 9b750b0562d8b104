package pgtable

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// catalogueNotes are what the catalogue says about a query. They are looked up once.
type catalogueNotes struct {
	mu    sync.Mutex
	known bool
	notes []string
	// future is the note about rows whose time has not come, and looked when the server was asked
	// for it, by its clock.
	future []string
	looked time.Time
}

// Notes returns what holds rows back now, that the time of others has not come, and what the catalogue says about
// the query: that its key is not unique or holds NULL, that row security may hide rows, that rows may be added before the cursor, as after its
// sequence was set back, that rows of infinity are held back for ever, and that each page sorts the table.
func (s *keyset) Notes(ctx context.Context, req dataflow.Request[Cursor]) ([]string, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	req, _ = rowmap.WithoutAgain(&s.query, req)
	from, err := s.query.Start(req.Resumed, req.From)
	if err != nil {
		return nil, err
	}
	r := &reader{keyset: s.upTo(req)}
	if _, err := r.describe(ctx, from); err != nil {
		return nil, err
	}
	from = r.now(from)
	if r.guarded, err = r.guardedQuery(ctx, r.keys[0], readStart{from: from, rough: true}); err != nil {
		return nil, err
	}
	var notes []string
	if note := s.server.pooler.Note(); note != "" {
		notes = append(notes, note)
	}
	elsewhere, err := r.elsewhereNote(ctx)
	if err != nil {
		return nil, err
	}
	notes = append(notes, elsewhere...)
	if r.guarded.held != nil {
		waiting, err := r.rowsWait(ctx, from)
		if err != nil {
			return nil, err
		}
		if waiting {
			notes = append(notes, r.guarded.held.String())
		}
	}
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	nulls, err := s.countNulls(within)
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return nil, err
	}
	if note := s.query.NullsNote(nulls); note != "" {
		notes = append(notes, note)
	}
	future, err := r.futureNote(ctx, from)
	if err != nil {
		return nil, err
	}
	back, err := r.setBackNote(ctx, from)
	if err != nil {
		return nil, err
	}
	notes = append(append(notes, future...), back...)
	s.catalogue.mu.Lock()
	defer s.catalogue.mu.Unlock()
	if !s.catalogue.known {
		if s.catalogue.notes, err = r.lookUpNotes(ctx, from); err != nil {
			return notes, err
		}
		s.catalogue.known = true
	}
	return append(notes, s.catalogue.notes...), nil
}

func (h *held) String() string {
	if h.since.IsZero() {
		return "rows are held back by " + h.by
	}
	return fmt.Sprintf("rows are held back by %s, since %s", h.by, timeText(h.since))
}

func (r *reader) lookUpNotes(ctx context.Context, from Cursor) ([]string, error) {
	table, err := r.keyTable(ctx)
	if err != nil {
		return nil, err
	}
	var notes []string
	if table.name != "" && !table.unique && !regroups.MatchString(r.unbounded().query.SQL) {
		notes = append(notes, fmt.Sprintf("no unique index covers the key (%s): of two rows with the same key, one may never be read: %s; or add a column to the key that makes it unique",
			rowmap.QuoteAll(r.query.Key, ", "), createIndex(true, table.kind, table.name, strings.Join(table.columns, ", "))))
	}
	if table.hides {
		notes = append(notes, fmt.Sprintf("row security may hide rows of %s from this role: they are not read, also later if their keys are before the cursor then: use a role with bypassrls, if all rows are to be read", table.name))
	}
	null, err := r.nullNote(ctx)
	if err != nil {
		return nil, err
	}
	notes = append(notes, null...)
	if r.guard == nil {
		notes = append(notes, r.orderNotes(table)...)
	}
	if r.guarded.cast != "" && slices.Contains([]uint32{pgtype.TimestamptzOID, pgtype.TimestampOID}, r.keys[0].DataTypeOID) {
		note, err := r.infinityNote(ctx)
		if err != nil {
			return nil, err
		}
		notes = append(notes, note...)
	}
	return append(notes, r.sortNote(ctx, from, table)...), nil
}

// regroups matches a query whose rows are not those of its tables.
var regroups = regexp.MustCompile(`(?i)\b(group\s+by|distinct|union|intersect|over)\b`)

// scanTimeout is how long a note may look through rows without an index.
const scanTimeout = 2 * time.Second

// nullNote is about rows with NULL in their key, at which reads end.
func (r *reader) nullNote(ctx context.Context) ([]string, error) {
	if r.query.Nulls != rowmap.NullsRefuse {
		return nil, nil // they are counted
	}
	if err := r.lookUpNullable(ctx); err != nil {
		return nil, err
	}
	query := r.query.FirstNullQuery(r.keyList())
	if r.nullable {
		query = r.query.AnyNullQuery(r.keyList())
	}
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	null, err := r.findNull(within, query, r.args)
	switch {
	case within.Err() != nil && ctx.Err() == nil: // it is not known
		return nil, nil
	case err != nil || null == nil:
		return nil, err
	}
	return []string{null.Error()}, nil
}

// keyTableQuery looks up the table of the key's columns, their names there, whether an index makes them
// unique, the defaults of the columns, how many numbers a session keeps of the sequence
// of the first, and whether row security may hide rows from the role.
const keyTableQuery = `
select c.oid::regclass::text, c.relkind::text,
	array(select pg_catalog.quote_ident(a.attname)
		from unnest($2::int2[]) with ordinality k (number, n)
		join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
		order by k.n),
	exists (
		select from pg_catalog.pg_index i
		where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indexprs is null and i.indpred is null
			and (i.indkey::int2[])[0:i.indnkeyatts - 1] <@ $2::int2[]),
	array(select coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
		from unnest($2::int2[]) with ordinality k (number, n)
		left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = k.number
		order by k.n),
	coalesce((select max(s.seqcache) from pg_catalog.pg_sequence s where s.seqrelid in (
		select objid from pg_catalog.pg_depend
		where refclassid = 'pg_class'::regclass and refobjid = c.oid and refobjsubid = ($2::int2[])[1] and classid = 'pg_class'::regclass
		union all
		select p.refobjid from pg_catalog.pg_attrdef d join pg_catalog.pg_depend p on p.classid = 'pg_attrdef'::regclass and p.objid = d.oid
		where d.adrelid = c.oid and d.adnum = ($2::int2[])[1])), 1),
	%s
from pg_catalog.pg_class c where c.oid = $1::bigint::oid and c.relkind in ('r', 'p', 'm')`

// keyTable is the table that all columns of a key belong to.
type keyTable struct {
	name     string   // as SQL; empty if there is no such table
	kind     string   // "p" for a partitioned table
	columns  []string // of the key, as SQL
	unique   bool
	defaults []string // of the key columns, as SQL
	cache    int64    // of the sequence that numbers the first key column; 1 if there is none
	hides    bool     // true if row security may hide rows from this role
}

func (r *reader) keyTable(ctx context.Context) (t keyTable, err error) {
	numbers := make([]int16, len(r.keys))
	for i, k := range r.keys {
		if k.TableOID == 0 || k.TableOID != r.keys[0].TableOID {
			return t, nil
		}
		numbers[i] = int16(k.TableAttributeNumber)
	}
	err = r.pool.QueryRow(ctx, fmt.Sprintf(keyTableQuery, hides("c.oid")), int64(r.keys[0].TableOID), numbers).Scan(&t.name, &t.kind, &t.columns, &t.unique, &t.defaults, &t.cache, &t.hides)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("look up the table of the key: %w", err)
	}
	return t, nil
}

// orderNotes are about keys with which rows are added before the cursor, if no guard
// was chosen.
func (r *reader) orderNotes(table keyTable) []string {
	const remedy = ": begin the key with a time that each change sets to now(), or set Query.LateCommits to pgtable.Unguarded{} if no rows are added to what was read"
	if r.keys[0].DataTypeOID == pgtype.UUIDOID && !growing(table, 0) {
		return []string{fmt.Sprintf("the key begins with the uuid %q, and a new row with a smaller one is never read%s", r.query.Key[0], remedy)}
	}
	if table.cache > 1 {
		return []string{fmt.Sprintf("the key %q takes its numbers from a sequence of which each session keeps %d: a session may add a smaller number after a greater one was read, and such a row is never read: alter sequence … cache 1, or begin the key with a time that each change sets to now()", r.query.Key[0], table.cache)}
	}
	if r.keys[0].DataTypeOID != pgtype.DateOID {
		return nil
	}
	return []string{fmt.Sprintf("the key begins with the date %q, and no guard holds back rows of a day that goes on: a row that is added with a smaller key is never read%s", r.query.Key[0], remedy)}
}

// checkOrder refuses a key with which rows are certain to be lost.
func (r *reader) checkOrder(ctx context.Context) error {
	_, opens := guardFor(r.guard, r.keys[0]).(OpenTransactions)
	if _, xids := r.guard.(XID8); xids || opens && r.guard == nil {
		return r.checkOutside(ctx)
	}
	if r.guard != nil || len(r.keys) < 2 || r.keys[0].DataTypeOID != pgtype.DateOID || r.keys[1].DataTypeOID != pgtype.UUIDOID {
		return nil
	}
	random, err := r.randomUUID(ctx, 1)
	if err != nil || !random {
		return err
	}
	return dataflow.Permanent(fmt.Errorf("the key (%s) begins with a date, and goes on with a random uuid: a row that is added on a day that was read gets any place of that day, and would never be read: "+
		"begin the key with a time that each change sets to now(), or set Query.LateCommits to pgtable.Unguarded{} if no rows are added to days that were read", strings.Join(r.query.Key, ", ")))
}

// randomUUID reports whether a key column is sure to hold random uuids: version 4 by
// some rows or by its default.
func (r *reader) randomUUID(ctx context.Context, i int) (bool, error) {
	whole := r.unbounded()
	name := rowmap.Qualified(r.query.Key)[i]
	var random bool
	err := r.pool.QueryRow(ctx, "select coalesce(bool_or(substr(v::text, 15, 1) = '4'), false) from (select "+name+whole.query.From()+" limit 10) s (v)", whole.args...).Scan(&random)
	if err != nil || random {
		return random, err
	}
	table, err := r.keyTable(ctx)
	return err == nil && i < len(table.defaults) && randomDefault.MatchString(table.defaults[i]), err
}

var randomDefault = regexp.MustCompile(`(?i)gen_random_uuid|v4\b`)

// growing reports whether a column's default is a uuid that grows with time.
func growing(t keyTable, i int) bool {
	return i < len(t.defaults) && growingUUID.MatchString(t.defaults[i])
}

var growingUUID = regexp.MustCompile(`(?i)v[167]\b|v1mc|ulid`)

// infinityNote is about rows that no guard lets pass.
func (r *reader) infinityNote(ctx context.Context) ([]string, error) {
	q := r.query.Where(rowmap.Qualified(r.query.Key)[0]+" = 'infinity'", 0)
	q.PageSize = 1
	rows, err := r.pool.Query(ctx, "select exists (select"+q.From()+")", r.args...)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	if err != nil || !found {
		return nil, err
	}
	return []string{fmt.Sprintf("rows whose key column %q is infinity are never read, because that time never comes: exclude them in the query, or give them a time", r.query.Key[0])}, nil
}

// ahead is how far a row's time may be ahead of the server's clock before that is noted.
const ahead = time.Minute

// futureNote is about rows after the cursor that wait for their time to come. A run that reads
// nothing asks for it too, so the answer counts for a minute.
func (r *reader) futureNote(ctx context.Context, from Cursor) ([]string, error) {
	clock, c := r.guarded.clock, r.catalogue
	switch {
	case clock.IsZero():
		return nil, nil
	case r.whole != nil: // the range of a backfill
		return r.lookAhead(ctx, from)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ago := clock.Sub(c.looked); ago < 0 || ago >= ahead {
		found, err := r.lookAhead(ctx, from)
		if err != nil {
			return nil, err
		}
		c.future, c.looked = found, clock
	}
	return c.future, nil
}

func (r *reader) lookAhead(ctx context.Context, from Cursor) ([]string, error) {
	first := rowmap.Qualified(r.query.Key)[0]
	q := r.query.Where(r.compare(">", r.guarded.cast, 1)+" and "+first+" < 'infinity'", 1)
	q.PageSize = 1
	within, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	args := withCursor(append(slices.Clone(r.args), timeText(r.guarded.clock.Add(ahead))), from)
	rows, err := r.pool.Query(within, q.PageQuery([]string{"(extract(epoch from " + first + ") * 1000000)::bigint"}, from != nil), args...)
	if err == nil {
		var at int64
		at, err = pgx.CollectOneRow(rows, pgx.RowTo[int64])
		if err == nil {
			return []string{fmt.Sprintf("rows are left for later, because the time in their key column %q has not come: the next of them is of %s", r.query.Key[0], timeText(time.UnixMicro(at)))}, nil
		}
	}
	if errors.Is(err, pgx.ErrNoRows) || within.Err() != nil && ctx.Err() == nil {
		return nil, nil // there are none, or it is not known
	}
	return nil, err
}

// manyRows is how many rows a page may sort before that is noted.
const manyRows = 10_000

// plan is a node of a query plan.
type plan struct {
	Type     string   `json:"Node Type"`
	Rows     float64  `json:"Plan Rows"`
	Keys     []string `json:"Sort Key"`
	Schema   string   `json:"Schema"`
	Relation string   `json:"Relation Name"`
	Alias    string   `json:"Alias"`
	Plans    []plan   `json:"Plans"`
}

// sortNote is about pages that sort many rows. A role that may not explain the query
// gets none.
func (r *reader) sortNote(ctx context.Context, from Cursor, table keyTable) []string {
	query := *r.guarded.query
	query.Ties = r.ties
	rows, err := r.pool.Query(ctx, "explain (verbose, format json) "+query.PageQuery(slices.Concat(r.columns, r.keyList()), from != nil), withCursor(r.guarded.args, from)...)
	if err != nil {
		return nil
	}
	text, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil
	}
	var plans []struct{ Plan plan }
	if json.Unmarshal(text, &plans) != nil || len(plans) != 1 {
		return nil
	}
	sort := plans[0].Plan.sorts()
	if sort.rows < manyRows {
		return nil
	}
	key := rowmap.QuoteAll(r.query.Key, ", ")
	remedy := fmt.Sprintf("create an index on the expressions of the key (%s), in this order", key)
	switch {
	case r.unbounded().query.Fenced: // no index helps
		remedy = "a foreign table is in the query, and its server may sort the texts of the key otherwise: use a key of times and numbers"
	case regroups.MatchString(r.unbounded().query.SQL):
		remedy = "keep the result of the query in a table with an index on the key"
	case table.name != "":
		remedy = createIndex(false, table.kind, table.name, strings.Join(table.columns, ", "))
	default:
		remedy = cmp.Or(sort.index(ctx, r), remedy)
	}
	return []string{fmt.Sprintf("each page sorts about %.0f rows: %s", sort.rows, remedy)}
}
