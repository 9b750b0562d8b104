package pgtable_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/keyrange"
)

// A flow reads a char(n) with its trailing blanks, and copies them into a text.
func TestKeys_PaddedSource(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"C", "en-x-icu"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			c := newCopied(t, setup(t), "shop", `create table orders (id char(5) collate "`+order+`" primary key)`, `create table copies (id text collate "C" primary key)`,
				`insert into orders select 10000 + n from generate_series(1, 2000) n`, `insert into orders values ('a'), ('bc'), ('')`)
			type row struct{ ID string }
			kit := dataflowtest.New(t, dataflow.NewFlow("copy", pgtable.Keyset[row](c.pool, pgtable.Query{SQL: `select id from shop.orders`, Key: []string{"id"}}),
				dataflow.Identity[row](), pgtable.UpsertTo[row](c.pool, "shop.copies", "id"), nil))
			require.Equal(t, dataflow.RunSuccess, kit.Work("copy").State)
			require.EqualValues(t, 2003, c.int(`select count(*) from copies`))
			c.exec(`delete from orders where id = 'a'`)
			require.Empty(t, c.deletes(dataflow.FlowOptions{}).Work(c.schema).Error)
			require.EqualValues(t, 2002, c.int(`select count(*) from copies`), "each row but one is still in the source")
		})
	}
}

// Rows that row security hides in the source are there, so that their copies must stay.
func TestKeys_RowSecurity(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	c := ordersOf(t, pool, "shop", 100)
	role := "reader_" + pool.Config().ConnConfig.Database
	c.exec(`alter table orders enable row level security; create policy most on orders using (id > 3); create view visible as select * from orders where id > 1;
		create role ` + role + `; grant usage on schema shop to ` + role + `; grant select on orders, visible to ` + role)
	t.Cleanup(func() {
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role)
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), `drop role `+role)
	})
	reader := open(t, pool.Config().ConnString(), pgx.QueryExecModeCacheStatement, map[string]string{"role": role})
	of := reconcile.New(pgtable.Keys(reader, c.orders), pgtable.Keys(pool, c.copies), nil)
	for _, err := range of.Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		require.ErrorContains(t, err, "source: table shop.orders: row security is active for this role and may hide rows")
		require.True(t, dataflow.IsPermanent(err))
	}
	found, _ := differences(t, c.compare(nil), reconcile.Cursor{}, -1)
	require.Empty(t, found, "the owner sees all rows")
	c.orders.Name = "shop.visible"
	found, _ = differences(t, reconcile.New(pgtable.Keys(reader, c.orders), pgtable.Keys(pool, c.copies), nil), reconcile.Cursor{}, -1)
	require.Equal(t, []string{"gone 1"}, found)
}

// The catalog keeps the version of the day when a collation was created, and a collation may have rules.
func TestKeys_CollationVersion(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	c := newCopied(t, pool, "shop", `create collation now (provider = icu, locale = 'und')`, `create collation old (provider = icu, locale = 'und')`, `create collation ruled (provider = icu, locale = 'und')`,
		`update pg_catalog.pg_collation set collversion = '1' where collname = 'old' and collnamespace = 'shop'::regnamespace`,
		`create table orders (id text collate now primary key)`, `create table copies (id text collate old primary key)`, `create table others (id text collate ruled)`)
	_, at := differences(t, c.compare(nil), reconcile.Cursor{}, -1)
	require.False(t, at.Pages, "both use the same library")

	var version int
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
	if version < 16 {
		return
	}
	c.exec(`update pg_catalog.pg_collation set collicurules = '&z < a' where collname = 'ruled' and collnamespace = 'shop'::regnamespace`)
	c.copies.Name = "shop.others"
	_, at = differences(t, c.compare(nil), reconcile.Cursor{}, -1)
	require.True(t, at.Pages, "they order texts by other rules")
}

// shrinking is a side that loses rows just before its keys are cut into parts.
type shrinking struct {
	reconcile.Side

	before func()
}

func (s *shrinking) Cut(ctx context.Context, p *keyrange.Plan, r keyrange.Range, step, most int64) ([]keyrange.Key, error) {
	if most > 1 {
		s.before()
	}
	return s.Side.Cut(ctx, p, r, step, most)
}

func TestKeys_ShrinksMeanwhile(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 3000)
	c.exec(`delete from orders where id = 7`)
	target := &shrinking{pgtable.Keys(c.pool, c.copies), func() { c.exec(`delete from copies where id > 100`) }}
	of := reconcile.New(pgtable.Keys(c.pool, c.orders), target, &reconcile.Options{MaxGone: 1})
	found, _ := differences(t, of, reconcile.Cursor{}, -1)
	require.Equal(t, []string{"gone 7"}, found)
}

// misled is a side that takes its order of texts for that of the other.
type misled struct{ reconcile.Side }

func (s misled) Columns(ctx context.Context) ([]keyrange.Column, []keyrange.Hash, error) {
	columns, hashes, err := s.Side.Columns(ctx)
	columns[0].Order = keyrange.CodePoints
	return columns, hashes, err
}

// A comparison ends if the two orders are not alike after all.
func TestKeys_OtherOrder(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create collation numbers (provider = icu, locale = 'en-u-kn-true')`, `create table orders (id text collate numbers primary key)`, `create table copies (id text collate "C" primary key)`,
		`insert into orders select n * 7 from generate_series(1, 3000) n`, `insert into copies select id from orders`, `delete from orders where id like '%0'`)
	of := reconcile.New(misled{pgtable.Keys(c.pool, c.orders)}, pgtable.Keys(c.pool, c.copies), &reconcile.Options{MaxGone: 1})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var end error
	for _, end = range of.Read(ctx, dataflow.Request[reconcile.Cursor]{}) {
	}
	require.ErrorContains(t, end, "the two sides order keys differently")
	require.True(t, dataflow.IsPermanent(end))
}

// The key of the table was changed while a run was under way.
func TestKeys_OtherKeyResumed(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create table orders (part int, id bigint, primary key (part, id))`, `create table copies (part int, id bigint, primary key (part, id))`,
		`insert into orders select 1, n from generate_series(1, 40000) n`, `insert into copies select * from orders`, `delete from orders where id = 7`)
	c.orders.Key, c.copies.Key = []string{"part", "id"}, []string{"part", "id"}
	_, at := differences(t, c.compare(nil), reconcile.Cursor{}, 1)
	require.Equal(t, "compare", at.Pass)
	c.orders.Key, c.copies.Key = []string{"id"}, []string{"id"}
	found, _ := differences(t, c.compare(nil), at, -1)
	require.Equal(t, []string{"gone 7"}, found)
}

// Tables that are alike are so in any order of their keys. A server that cancels long statements gets shorter ones.
func TestKeys_AlikeAsAWhole(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create table orders (id text collate "en-x-icu" primary key)`, `create table copies (id text collate "C" primary key)`,
		`insert into orders select 'Order ' || n from generate_series(1, 3000) n`, `insert into copies select id from orders`)
	for _, hasty := range []bool{false, true} {
		target := &server{Side: pgtable.Keys(c.pool, c.copies), hasty: hasty}
		_, at := differences(t, reconcile.New(pgtable.Keys(c.pool, c.orders), target, nil), reconcile.Cursor{}, -1)
		require.Equal(t, reconcile.Cursor{Pass: "done", Pages: true, SourceRows: 3000, TargetRows: 3000}, at)
		require.Equal(t, hasty, target.cuts > 0)
	}
}

// server is a side that counts how often a range was looked for. A hasty one cancels the sum of all keys.
type server struct {
	reconcile.Side

	hasty bool
	cuts  int
}

func (s *server) Sum(ctx context.Context, p *keyrange.Plan, r keyrange.Range) (keyrange.Sum, error) {
	if s.hasty && r.After == nil && r.Until == nil {
		return keyrange.Sum{}, errors.New("canceling statement due to statement timeout")
	}
	return s.Side.Sum(ctx, p, r)
}

func (s *server) Cut(ctx context.Context, p *keyrange.Plan, r keyrange.Range, step, most int64) ([]keyrange.Key, error) {
	s.cuts++
	return s.Side.Cut(ctx, p, r, step, most)
}

// A char(n) is in another order than its copies with blanks, if another column follows.
func TestKeys_PaddedParts(t *testing.T) {
	t.Parallel()
	c := newCopied(t, setup(t), "shop", `create table orders (region char(5) collate "C", id bigint, primary key (region, id))`, `create table copies (region text collate "C", id bigint, primary key (region, id))`,
		`insert into orders select 'eu', n from generate_series(1, 3000) n`, `insert into copies select 'eu   ', id from orders`)
	c.orders.Key, c.copies.Key = []string{"region", "id"}, []string{"region", "id"}
	found, at := differences(t, c.compare(nil), reconcile.Cursor{}, -1)
	require.Empty(t, found)
	require.Equal(t, reconcile.Cursor{Pass: "done", Pages: true, SourceRows: 3000, TargetRows: 3000, Missing: 3000}, at)
}

// While a range is compared in which the source has no row, rows come to it, and from there to the target.
func TestKeys_FilledMeanwhile(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 1<<14)
	c.exec(`insert into copies values (30000)`)
	filled, empty, second := make(chan struct{}), 0, 0
	source := &slow{Side: pgtable.Keys(c.pool, c.orders), after: func(_ keyrange.Range, s keyrange.Sum) {
		if s.Rows > 0 {
			return
		}
		if empty++; empty == 2 {
			c.exec(`insert into orders select n from generate_series(20001, 25000) n; insert into copies select id from orders where id > 20000`)
			close(filled)
		}
	}}
	target := &slow{Side: pgtable.Keys(c.pool, c.copies), before: func(r keyrange.Range) {
		if r.After == nil {
			return
		}
		if second++; second == 2 {
			<-filled
		}
	}}
	found, at := differences(t, reconcile.New(source, target, nil), reconcile.Cursor{Pass: "done", Missing: 1}, -1)
	require.Equal(t, []string{"gone 30000"}, found)
	require.EqualValues(t, 1, at.Gone)
}

// slow is a side that adds up while something else happens.
type slow struct {
	reconcile.Side

	before func(r keyrange.Range)
	after  func(r keyrange.Range, s keyrange.Sum)
}

func (s *slow) Sum(ctx context.Context, p *keyrange.Plan, r keyrange.Range) (keyrange.Sum, error) {
	if s.before != nil {
		s.before(r)
	}
	sum, err := s.Side.Sum(ctx, p, r)
	if err == nil && s.after != nil {
		s.after(r, sum)
	}
	return sum, err
}

// The target's server ends a silent transaction after 10 s. So it hears of the process while a slow source is asked.
func TestKeys_SlowSource(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 20)
	c.exec(`delete from orders where id = 7`)
	heard := 0
	source := &asked{pgtable.Keys(c.pool, c.orders), func() {
		waits := int64(1)
		for waits > 0 && heard == 0 {
			waits = c.int(`select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction' and query not like 'set local search_path%'`)
			heard = int(c.int(`select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction' and query = 'select 1'`))
		}
	}}
	of := reconcile.New(source, pgtable.Keys(c.pool, c.copies), nil)
	require.Empty(t, dataflowtest.New(t, goneFlow("gone", of, of.Delete(), dataflow.FlowOptions{})).Work("gone").Error)
	require.Equal(t, 1, heard)
	require.EqualValues(t, 19, c.int(`select count(*) from copies`))
}

// asked is a side that does something before it looks for keys.
type asked struct {
	reconcile.Side

	before func()
}

func (s *asked) Find(ctx context.Context, p *keyrange.Plan, keys []keyrange.Key) ([]bool, error) {
	s.before()
	return s.Side.Find(ctx, p, keys)
}
