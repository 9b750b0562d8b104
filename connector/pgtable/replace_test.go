package pgtable_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// place is a row of the tables of these tests.
type place struct {
	ID   int64
	Name string
}

// replaced is a database with two tables: each run reads from_here and replaces
// places.
type replaced struct {
	*testing.T
	pool *pgxpool.Pool
}

func newReplaced(t *testing.T, statements ...string) *replaced {
	t.Helper()
	return &replaced{T: t, pool: setup(t, append([]string{
		`create table from_here (id bigint, name text)`,
		`create table places (id bigint primary key, name text not null check (name <> 'nowhere'), at timestamptz not null default now())`,
		`insert into places (id, name) values (1, 'Oslo'), (2, 'Rome')`,
	}, statements...)...)}
}

func (r *replaced) exec(statement string) {
	r.Helper()
	_, err := r.pool.Exec(r.Context(), statement)
	require.NoError(r, err, statement)
}

func (r *replaced) rows(query string) []string {
	r.Helper()
	rows, err := r.pool.Query(r.Context(), query)
	require.NoError(r, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(r, err)
	return texts
}

// flow returns a flow that replaces places with the rows of from_here, in batches
// of two.
func (r *replaced) flow(transform dataflow.Transform[place, place], opts dataflow.FlowOptions) *dataflow.Flow {
	return placesFlow(r.pool, transform, opts)
}

func placesFlow(pool *pgxpool.Pool, transform dataflow.Transform[place, place], opts dataflow.FlowOptions) *dataflow.Flow {
	opts.Runtime = dataflow.Heartbeat{BatchSize: 2}
	opts.Backoff = func(int) time.Duration { return 0 }
	return dataflow.NewFlow("places", pgtable.Select[place](pool, `select id, name from from_here order by id`), transform, pgtable.Replace[place]("places"), &opts)
}

func (r *replaced) client(flows ...*dataflow.Flow) *dataflow.Client {
	r.Helper()
	client, err := dataflow.NewClient(dataflowpgx.New(r.pool), &dataflow.Config{Flows: flows, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(r, err)
	require.NoError(r, client.Migrate(r.Context()))
	require.NoError(r, client.Register(r.Context()))
	return client
}

// simple returns a client of a flow that writes what it reads.
func (r *replaced) simple() *dataflow.Client {
	r.Helper()
	return r.client(r.flow(dataflow.Identity[place](), dataflow.FlowOptions{}))
}

// run runs the flow with these rows to read.
func (r *replaced) run(client *dataflow.Client, rows string) (*dataflow.Run, error) {
	r.Helper()
	r.exec(`truncate from_here`)
	if rows != "" {
		r.exec(`insert into from_here values ` + rows)
	}
	return client.Trigger(r.Context(), "places", nil)
}

// holds checks the rows of places, and that no staging table is left.
func (r *replaced) holds(want ...string) {
	r.Helper()
	require.Equal(r, want, r.rows(`select id || ' ' || name from places order by id`))
}

func (r *replaced) nothingBeside() {
	r.Helper()
	require.Empty(r, r.rows(`select relname::text from pg_class where relname like 'dataflow_stage%'`))
}

func TestReplace(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	client := r.simple()
	for _, c := range []struct {
		rows string
		want []string
	}{
		{`(2, 'Rome'), (3, 'Bonn'), (4, 'Lima'), (5, 'Cork'), (6, 'Kyiv')`, []string{"2 Rome", "3 Bonn", "4 Lima", "5 Cork", "6 Kyiv"}},
		{`(5, 'Bath'), (7, 'Graz')`, []string{"5 Bath", "7 Graz"}},
		{``, []string{}},
		{`(1, 'Oslo')`, []string{"1 Oslo"}},
	} {
		run, err := r.run(client, c.rows)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: int64(len(c.want)), Written: int64(len(c.want))}, run.Counters)
		r.holds(c.want...)
		r.nothingBeside()
	}
}

// Several hundred rows are written by COPY. Columns without a field get their
// defaults, and names are quoted where needed.
func TestReplace_Many(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create schema "My.schema"`,
		`create table "My.schema"."a ""table"" of many, whose name is as long as names can be" (
			"count" int not null, "S" text, extra int default 7, serial bigint generated always as identity,
			double int generated always as ("count" * 2) stored, check (extra < "count" + 100), unique ("count"))`)
	type row struct {
		Count int64  `db:"count"`
		S     string `db:"S"`
	}
	table := `"My.schema"."a ""table"" of many, whose name is as long as names can be"`
	flow := dataflow.NewFlow("it's a \\ long name", pgtable.Select[row](pool, `select n as count, 's' || n as "S" from generate_series(1, 1000) n`),
		dataflow.Identity[row](), pgtable.Replace[row](table), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 300}})
	r := &replaced{T: t, pool: pool}
	client := r.client(flow)
	for range 2 {
		run, err := client.Trigger(t.Context(), flow.Name, nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 1000, Written: 1000}, run.Counters)
		require.Equal(t, []string{"1000 1000 500500 1001000 7000"}, r.rows(`select concat_ws(' ', count(*), count(distinct "S"), sum("count"), sum(double), sum(extra)) from `+table))
	}
	r.nothingBeside()
}

// A run that fails leaves the rows as they were. The next attempt starts again.
func TestReplace_Fails(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	broken := true
	client := r.client(r.flow(dataflow.Map(func(_ context.Context, p place) (place, error) {
		if broken && p.ID == 5 {
			return p, errors.New("out of paper")
		}
		return p, nil
	}), dataflow.FlowOptions{}))
	run, err := r.run(client, `(1, 'Bonn'), (3, 'Bonn'), (4, 'Lima'), (5, 'Cork')`)
	require.ErrorContains(t, err, "out of paper")
	require.Equal(t, dataflow.RunPending, run.State)
	r.holds("1 Oslo", "2 Rome")
	require.Len(t, r.rows(`select relname::text from pg_class where relkind = 'r' and relname like 'dataflow_stage_places_%' and relname not like '%_begun' and relpersistence = 'u'`), 1)
	require.Contains(t, r.rows(`select obj_description(oid) from pg_class where relkind = 'r' and relname like 'dataflow_stage_places_%' and relname not like '%_begun'`)[0], `Rows that flow "places" has read so far`)

	broken = false
	r.exec(`delete from from_here where id = 3`)
	run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
	require.NoError(t, err)
	require.EqualValues(t, 3, run.Counters.Written)
	r.holds("1 Bonn", "4 Lima", "5 Cork")
	r.nothingBeside()
}

// Rows that the table would reject are bad records, if a policy handles them.
func TestReplace_BadRecords(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	client := r.client(r.flow(dataflow.Identity[place](), dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(2)}))
	run, err := r.run(client, `(1, 'Bonn'), (3, 'nowhere'), (4, 'Lima'), (4, 'Cork'), (5, 'Bath')`)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 5, Written: 3, Dropped: 2}, run.Counters)
	r.holds("1 Bonn", "4 Lima", "5 Bath")

	run, err = r.run(r.simple(), `(1, 'Bonn'), (1, 'Lima')`)
	require.Error(t, err)
	require.ErrorContains(t, err, `table places: write to the staging table "public"."dataflow_stage_places_`)
	require.ErrorContains(t, err, "Key (id)=(1) already exists.")
	require.Equal(t, dataflow.RunPending, run.State)
	r.holds("1 Bonn", "4 Lima", "5 Bath")
}

// A dry run reports the rows that the table would reject. It leaves nothing in the
// database, even while a run is half done.
func TestReplace_DryRun(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	client := r.client(r.flow(dataflow.Map(func(_ context.Context, p place) (place, error) {
		if p.ID == 5 {
			return p, errors.New("out of paper")
		}
		return p, nil
	}), dataflow.FlowOptions{OnBadRecord: dataflow.FailFast}))
	_, err := r.run(client, `(1, 'Bonn'), (3, 'Lima'), (5, 'Cork')`)
	require.Error(t, err)
	beside := func() []string {
		return r.rows(`select oid || ' ' || relname from pg_class where relname like 'dataflow_stage%' order by oid`)
	}
	before := beside()
	require.NotEmpty(t, before)
	r.exec(`insert into from_here values (4, 'nowhere')`)
	report, err := client.DryRun(t.Context(), "places", nil)
	require.NoError(t, err)
	require.True(t, report.Written)
	require.Equal(t, dataflow.Counters{Read: 4, Written: 2, Dropped: 2}, report.Counters)
	require.Contains(t, report.Records[2].Error, `violates check constraint "places_name_check"`)
	require.Equal(t, before, beside())
	r.holds("1 Oslo", "2 Rome")
}

// While several runs replace the rows, a reader sees all rows of one run.
func TestReplace_Readers(t *testing.T) {
	t.Parallel()
	r := newReplaced(t, `truncate places`)
	client := r.simple()
	done, stop := make(chan error, 1), make(chan struct{})
	seen := map[int]bool{}
	go func() {
		for {
			var n, names int
			var name *string
			err := r.pool.QueryRow(context.WithoutCancel(t.Context()), `select count(*), count(distinct name), min(name) from places`).Scan(&n, &names, &name)
			if err == nil && n > 0 && (names != 1 || len(*name) != n) {
				err = errors.New("a reader has found a mixture")
			}
			seen[n] = true
			select {
			case <-stop:
				done <- err
				return
			default:
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 30 {
		n := 3 + 7*(i%4) // n rows, whose names have n characters
		r.exec(`truncate from_here`)
		_, err := r.pool.Exec(t.Context(), `insert into from_here select i, repeat('x', $1) from generate_series(1, $1) i`, n)
		require.NoError(t, err)
		_, err = client.Trigger(t.Context(), "places", nil)
		require.NoError(t, err)
	}
	close(stop)
	require.NoError(t, <-done)
	require.GreaterOrEqual(t, len(seen), 3, "the reader has read while the runs went on")
}

// The table's dependants stay: views, grants, triggers, and foreign keys in both
// directions, which are checked against the new rows.
func TestReplace_Dependants(t *testing.T) {
	t.Parallel()
	r := newReplaced(t,
		`create view loud as select id, upper(name) as name from places`,
		`create table visit (place bigint references places (id))`, `insert into visit values (2)`,
		`grant select on places to public`)
	before := r.rows(`select relacl::text from pg_class where relname = 'places'`)
	client := r.simple()
	_, err := r.run(client, `(2, 'Bonn'), (3, 'Lima'), (4, 'Cork')`)
	require.NoError(t, err)
	require.Equal(t, []string{"2 BONN", "3 LIMA", "4 CORK"}, r.rows(`select id || ' ' || name from loud order by id`))
	require.Equal(t, before, r.rows(`select relacl::text from pg_class where relname = 'places'`))
	r.nothingBeside()

	_, err = r.run(client, `(3, 'Lima'), (4, 'Cork')`)
	require.ErrorContains(t, err, `violates foreign key constraint "visit_place_fkey"`)
	require.ErrorContains(t, err, "Key (id)=(2) is still referenced")
	r.holds("2 Bonn", "3 Lima", "4 Cork")
	require.Len(t, r.rows(`select place::text from visit`), 1)
}

// A target that cannot work is refused before the source is read.
func TestReplace_Refused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ with, want string }{
		"Cascade":    {`create table visit (place bigint references places (id) on delete cascade)`, `foreign key "visit_place_fkey" of table visit acts on deleted rows`},
		"SetNull":    {`create table visit (place bigint references places (id) on delete set null)`, `use "on delete no action"`},
		"Itself":     {`create table visit (place bigint references places (id)); alter table places add up bigint references places (id) on delete cascade`, `foreign key "places_up_fkey" of the table to itself`},
		"View":       {`drop table places; create view places as select 1::bigint as id, ''::text as name`, `table places: it is not a table`},
		"NoTable":    {`drop table places`, `table places: there is no table "places"`},
		"NoColumn":   {`alter table places drop column name cascade`, `the table has no column "name" (field Name)`},
		"Generated":  {`alter table places drop name, add name text generated always as ('x') stored`, `its rows cannot be replaced: `},
		"IdentityID": {`alter table places alter id add generated always as identity`, `column "id" (field ID) is generated always as identity`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReplaced(t)
			r.exec(c.with)
			read := false
			client := r.client(r.flow(dataflow.Map(func(_ context.Context, p place) (place, error) {
				read = true
				return p, nil
			}), dataflow.FlowOptions{}))
			_, err := r.run(client, `(1, 'Bonn')`)
			require.ErrorContains(t, err, c.want)
			require.False(t, read)
			r.nothingBeside()
		})
	}
	pool := setup(t)
	_, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("f",
		pgtable.Keyset[place](pool, pgtable.Query{SQL: `select id, name from from_here`, Key: []string{"id"}}),
		dataflow.Identity[place](), pgtable.Replace[place]("a.b.c"), nil)}})
	require.ErrorContains(t, err, `Flows["f"].Target: it replaces all that is there`)
	require.ErrorContains(t, err, `Flows["f"].Target.table: a.b.c has 3 parts`)
}

// As by "delete from", the rows of a table that inherits go too.
func TestReplace_Inherited(t *testing.T) {
	t.Parallel()
	r := newReplaced(t, `create table capitals () inherits (places)`, `insert into capitals values (9, 'Oslo')`)
	_, err := r.run(r.simple(), `(2, 'Bonn')`)
	require.NoError(t, err)
	r.holds("2 Bonn")
	require.Empty(t, r.rows(`select id::text from capitals`))
}

// A foreign key of the table to itself does no harm.
func TestReplace_ToItself(t *testing.T) {
	t.Parallel()
	r := newReplaced(t, `alter table places add foreign key (id) references places (id) on delete cascade`)
	_, err := r.run(r.simple(), `(2, 'Bonn'), (3, 'Lima')`)
	require.NoError(t, err)
	r.holds("2 Bonn", "3 Lima")
}

// The table may be partitioned.
func TestReplace_Partitioned(t *testing.T) {
	t.Parallel()
	r := newReplaced(t, `drop table places`, `create table places (id bigint primary key, name text) partition by range (id)`,
		`create table places_low partition of places for values from (0) to (10)`, `create table places_high partition of places for values from (10) to (20)`)
	client := r.simple()
	for range 2 {
		_, err := r.run(client, `(2, 'Bonn'), (3, 'Lima'), (12, 'Cork')`)
		require.NoError(t, err)
		r.holds("2 Bonn", "3 Lima", "12 Cork")
	}
}

// A worker that was taken over half-way changes nothing, whatever it does later.
func TestReplace_TakenOver(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	reached, open := make(chan struct{}), make(chan struct{})
	old := r.client(r.flow(dataflow.Map(func(_ context.Context, p place) (place, error) {
		if p.ID == 5 {
			close(reached)
			<-open
		}
		return p, nil
	}), dataflow.FlowOptions{}))
	r.exec(`insert into from_here values (1, 'old'), (3, 'old'), (4, 'old'), (5, 'old')`)
	done := make(chan error, 1)
	go func() {
		_, err := old.Trigger(t.Context(), "places", nil)
		done <- err
	}()
	<-reached
	store, err := dataflowpgx.New(r.pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	runs, err := old.Runs(t.Context(), nil)
	require.NoError(t, err)
	back, err := store.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: runs[0].ID, FlowID: runs[0].FlowID, LeaseNumber: 1, State: dataflow.RunPending, Refund: true})
	require.NoError(t, err)
	require.NotNil(t, back)
	r.exec(`update from_here set name = 'new', id = id + 10`)
	_, err = dataflow.NewFlowExecutor(r.simple()).Execute(t.Context(), runs[0].ID)
	require.NoError(t, err)
	close(open)
	require.ErrorIs(t, <-done, dataflow.ErrFenced)
	r.holds("11 new", "13 new", "14 new", "15 new")
	r.nothingBeside()
}
