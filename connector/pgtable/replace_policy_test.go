package pgtable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// What only the table itself refuses, at the end of the run, is a bad record: the policy
// decides about it, and the others replace the rows.
func TestReplace_RefusedAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"foreign key":          {`create table city (name text primary key)`, `insert into city select 'city ' || i from generate_series(1, 3000) i where i <> 7 and i <> 2900`, `insert into city values ('Oslo'), ('Rome')`, `alter table places add foreign key (name) references city`},
		"deferred foreign key": {`create table city (name text primary key)`, `insert into city select 'city ' || i from generate_series(1, 3000) i where i <> 7 and i <> 2900`, `insert into city values ('Oslo'), ('Rome')`, `alter table places add foreign key (name) references city deferrable initially deferred`},
		"partition":            {`drop table places`, `create table places (id bigint primary key, name text) partition by list (id)`, `create table odd partition of places for values in (7, 2900)`, `create table rest partition of places default`, `alter table places detach partition odd`, `alter table rest add check (id not in (7, 2900))`, `insert into places values (1, 'Oslo'), (2, 'Rome')`},
		"trigger":              {`create function refuse() returns trigger language plpgsql as $$ begin if new.id in (7, 2900) then raise 'nobody likes it'; end if; return new; end $$`, `create trigger refuse before insert on places for each row execute function refuse()`},
		"another column":       {`alter table places add twice bigint default 0 check (id not in (7, 2900) or twice > 0)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReplaced(t, statements...)
			flow := func(policy dataflow.Policy) *dataflow.Client {
				return r.client(dataflow.NewFlow("places", pgtable.Select[place](r.pool, `select id, name from from_here order by id`), dataflow.Identity[place](),
					pgtable.Replace[place]("places"), &dataflow.FlowOptions{OnBadRecord: policy, MaxAttempts: 1}))
			}
			r.exec(`insert into from_here select i, 'city ' || i from generate_series(1, 3000) i`)
			for _, policy := range []dataflow.Policy{nil, dataflow.SkipUpTo(1)} {
				_, err := flow(policy).Trigger(t.Context(), "places", nil)
				var bad *dataflow.RecordError
				require.ErrorAs(t, err, &bad)
				require.Equal(t, map[bool]string{true: "(id)=(7)", false: "(id)=(2900)"}[policy == nil], bad.Key)
				r.holds("1 Oslo", "2 Rome")
			}
			client := flow(dataflow.DeadLetterUpTo(2))
			run, err := client.Trigger(t.Context(), "places", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 3000, Written: 2998, DeadLettered: 2}, run.Counters)
			require.Equal(t, []string{"2998"}, r.rows(`select count(*)::text from places`))
			r.nothingBeside()
			letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "places"})
			require.NoError(t, err)
			require.Len(t, letters, 2)
			require.JSONEq(t, `{"id": 7, "name": "city 7"}`, string(letters[min(1, len(letters)-1)].Payload))
		})
	}
}

// Rows that refer to each other are not blamed for a neighbour, whatever their order.
func TestReplace_RefusedBesideReferences(t *testing.T) {
	t.Parallel()
	type node struct {
		ID int64
		Up *int64
	}
	pool := setup(t, `create table here (id bigint, up bigint)`, `insert into here select i, nullif(i + 1, 301) from generate_series(1, 300) i`,
		`create table nodes (id bigint primary key, up bigint references nodes)`,
		`insert into here values (2000, 3000), (2001, 2000)`)
	run, err := triggerFlow(t, pool, dataflow.NewFlow("nodes", pgtable.Select[node](pool, `select id, up from here order by id`), dataflow.Identity[node](), pgtable.Replace[node]("nodes"),
		&dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(2), MaxAttempts: 1}))
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 302, Written: 300, Dropped: 2}, run.Counters)
	require.Equal(t, []string{"300"}, texts(t, pool, `select count(*)::text from nodes`))
}
