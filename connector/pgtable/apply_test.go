package pgtable_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type account struct {
	ID    int64
	Email *string
	Note  string
}

type accountChange = pgtable.Change[account]

func mail(s string) *string { return &s }

func insertOf(id int64, email, note string) accountChange {
	return accountChange{Op: pgtable.ChangeInsert, New: account{id, mail(email), note}}
}

func updateOf(id int64, email, note string, absent ...string) accountChange {
	return accountChange{Op: pgtable.ChangeUpdate, New: account{id, mail(email), note}, Absent: absent}
}

func movedFrom(old int64, c accountChange) accountChange {
	c.Old = &account{ID: old}
	return c
}

func deleteOf(id int64) accountChange {
	return accountChange{Op: pgtable.ChangeDelete, Old: &account{ID: id}}
}

const accountTable = `create table account (id bigint primary key, email text unique, note text not null default 'default')`

// apply runs a flow that applies changes in one batch, and returns its run.
func apply(t *testing.T, pool *pgxpool.Pool, target dataflow.Target[accountChange], policy dataflow.Policy, changes ...accountChange) (*dataflow.Run, error) {
	t.Helper()
	client := applier(t, pool, target, policy, changes...)
	require.NoError(t, client.Start(t.Context()))
	defer func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) }()
	flow, err := client.Flow(t.Context(), "apply")
	require.NoError(t, err)
	return flow.Runtime.Execute(t.Context(), flow)
}

// applier returns a client with a flow that applies changes in one batch.
func applier(t *testing.T, pool *pgxpool.Pool, target dataflow.Target[accountChange], policy dataflow.Policy, changes ...accountChange) *dataflow.Client {
	t.Helper()
	flow := dataflow.NewFlow("apply", memory.Slice(changes), dataflow.Identity[accountChange](), target,
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1000}, MaxAttempts: 1, OnBadRecord: policy})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	return client
}

func accounts(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	result, err := pool.Query(t.Context(), `select concat_ws(' ', id, coalesce(email, '-'), note) from account order by id`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(result, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

func TestApply(t *testing.T) {
	t.Parallel()
	truncate := accountChange{Op: pgtable.ChangeTruncate}
	for name, tt := range map[string]struct {
		changes []accountChange
		want    []string
		setup   []string
	}{
		"the last change of a key wins": {
			changes: []accountChange{insertOf(3, "c", "new"), updateOf(3, "d", "newer"), updateOf(1, "x", "x"), deleteOf(1), insertOf(1, "y", "y"), deleteOf(2), deleteOf(7)},
			want:    []string{"1 y y", "3 d newer"},
		},
		"absent columns are left": {
			changes: []accountChange{updateOf(1, "x", "", "note"), insertOf(3, "c", "c"), updateOf(3, "d", "", "note"), updateOf(2, "", "twice", "email"), updateOf(2, "", "", "email", "note")},
			want:    []string{"1 x one", "2 b twice", "3 d c"},
		},
		"absent columns of a key that changes": {
			changes: []accountChange{movedFrom(1, updateOf(9, "x", "", "note")), updateOf(2, "z", "z")},
			want:    []string{"2 z z", "9 x one"},
		},
		"keys change, to and fro": {
			changes: []accountChange{movedFrom(1, updateOf(9, "a", "nine")), movedFrom(2, updateOf(1, "b", "two")), movedFrom(9, updateOf(2, "a", "back"))},
			want:    []string{"1 b two", "2 a back"},
		},
		"a unique value moves": {
			changes: []accountChange{deleteOf(1), insertOf(3, "a", "took a"), updateOf(2, "-", "gave b"), insertOf(4, "b", "took b"), updateOf(2, "c", "two")},
			want:    []string{"2 c two", "3 a took a", "4 b took b"},
		},
		"two rows exchange a unique value": {
			changes: []accountChange{updateOf(1, "tmp", "one"), updateOf(2, "a", "two"), updateOf(1, "b", "one")},
			want:    []string{"1 b one", "2 a two"},
		},
		"truncate": {
			changes: []accountChange{insertOf(3, "c", "c"), truncate, insertOf(4, "d", "d"), insertOf(5, "e", "e"), deleteOf(5)},
			want:    []string{"4 d d"},
		},
		"a row that is missing while the table is loaded": {
			changes: []accountChange{func() accountChange { c := updateOf(8, "x", "", "note"); c.Loading = true; return c }()},
			want:    []string{"1 a one", "2 b two"},
		},
		"a foreign key that deletes": {
			setup:   []string{`create table child (id bigint primary key, account bigint references account on delete cascade)`, `insert into child values (1, 1)`},
			changes: []accountChange{deleteOf(1), insertOf(1, "a", "again")},
			want:    []string{"1 a again", "2 b two"},
		},
		"truncate a table that others reference": {
			setup:   []string{`create table child (id bigint primary key, account bigint references account on delete cascade)`, `insert into child values (1, 1)`},
			changes: []accountChange{insertOf(3, "c", "c"), truncate, insertOf(4, "d", "d")},
			want:    []string{"4 d d"},
		},
		"a foreign key to the table itself": {
			setup:   []string{`alter table account add parent bigint references account`, `update account set parent = 1 where id = 2`},
			changes: []accountChange{deleteOf(2), deleteOf(1)},
			want:    []string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, append([]string{accountTable, `insert into account values (1, 'a', 'one'), (2, 'b', 'two')`}, tt.setup...)...)
			for i := range tt.changes {
				tt.changes[i].Identity = []string{"id"}
			}
			run, err := apply(t, pool, pgtable.Apply[account]("account", "id"), nil, tt.changes...)
			require.NoError(t, err)
			require.EqualValues(t, len(tt.changes), run.Counters.Written)
			require.Equal(t, tt.want, accounts(t, pool))
			if len(tt.setup) > 0 && tt.setup[0][:13] == "create table " {
				require.Empty(t, rowsOf(t, pool, `select id::text from child`), "the delete did what a foreign key does")
			}
		})
	}
}

func rowsOf(t *testing.T, pool *pgxpool.Pool, query string) []string {
	t.Helper()
	result, err := pool.Query(t.Context(), query)
	require.NoError(t, err)
	all, err := pgx.CollectRows(result, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

// The other database keeps the checkpoint, too.
func TestApplyTo(t *testing.T) {
	t.Parallel()
	pool, other := setup(t), setup(t, accountTable)
	_, err := apply(t, pool, pgtable.ApplyTo[account](other, "account", "id"), nil, insertOf(1, "a", "one"), insertOf(2, "b", "two"), updateOf(1, "c", "", "note"), deleteOf(2))
	require.NoError(t, err)
	require.Equal(t, []string{"1 c one"}, accounts(t, other))
	require.Len(t, rowsOf(t, other, `select flow from dataflow_sink_checkpoint`), 1)
}

func TestApply_Errors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change accountChange
		want   string
	}{
		"a row is lost":                 {updateOf(8, "x", "", "note"), `update of the row [8]: the table has no such row, and the update lacks "note", which it left unchanged`},
		"a moved row":                   {movedFrom(8, updateOf(9, "x", "", "note")), `update of the row [9]: the table has no such row`},
		"a unique value":                {insertOf(3, "a", "x"), `insert of the row [3]: ERROR: duplicate key value violates unique constraint "account_email_key"`},
		"no old row":                    {accountChange{Op: pgtable.ChangeDelete}, `a delete without Old`},
		"an unknown op":                 {accountChange{Op: "merge"}, `unknown Op "merge"`},
		"the wrong identity":            {accountChange{Op: pgtable.ChangeDelete, Old: &account{Email: mail("a")}, Identity: []string{"email"}, Table: "public.account"}, `the key column "id" is not part of the replica identity of public.account, which is "email"`},
		"the wrong identity in the log": {accountChange{Op: pgtable.ChangeDelete, Old: &account{Email: mail("a")}, Identity: []string{"email"}, Table: "public.account"}, "Changes that are in the log stay without it: load the table again: alter publication … drop table, and add table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, accountTable, `insert into account values (1, 'a', 'one'), (2, 'b', 'two')`)
			_, err := apply(t, pool, pgtable.Apply[account]("account", "id"), nil, deleteOf(2), tt.change)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, []string{"1 a one", "2 b two"}, accounts(t, pool), "nothing is written")
		})
	}
}

// With a policy, a change that is refused is left out, and the others are applied in order.
func TestApply_Policy(t *testing.T) {
	t.Parallel()
	pool := setup(t, accountTable, `insert into account values (1, 'a', 'one'), (2, 'b', 'two')`)
	run, err := apply(t, pool, pgtable.Apply[account]("account", "id"), dataflow.SkipUpTo(9), deleteOf(2), insertOf(3, "a", "bad"), insertOf(2, "b", "again"), updateOf(8, "x", "", "note"), updateOf(1, "z", "one"))
	require.NoError(t, err)
	require.EqualValues(t, 2, run.Counters.Dropped)
	require.Equal(t, []string{"1 z one", "2 b again"}, accounts(t, pool))
}

// A change is never applied after newer ones: the policy RetryBadFor is refused, and a replay is.
func TestApply_KeepsOrder(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(pool *pgxpool.Pool) dataflow.Target[accountChange]{
		"Apply": func(*pgxpool.Pool) dataflow.Target[accountChange] { return pgtable.Apply[account]("account", "id") },
		"ApplyTo": func(pool *pgxpool.Pool) dataflow.Target[accountChange] {
			return pgtable.ApplyTo[account](pool, "account", "id")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, accountTable, `insert into account values (1, 'a', 'one')`)
			for _, policy := range []dataflow.Policy{dataflow.RetryBadFor(time.Hour, 3), dataflow.MaxBadRatio(0.5, dataflow.RetryBadFor(time.Hour, 3))} {
				_, err := apply(t, pool, target(pool), policy, insertOf(3, "a", "bad"))
				require.ErrorContains(t, err, "the policy RetryBadFor would write the record after newer ones, and the target (pgtable.apply")
				require.ErrorContains(t, err, "use FailFast or DeadLetterUpTo")
				require.True(t, dataflow.IsPermanent(err))
			}
		})
	}
	pool := setup(t, accountTable, `insert into account values (1, 'a', 'one')`)
	client := applier(t, pool, pgtable.Apply[account]("account", "id"), dataflow.DeadLetterUpTo(9), insertOf(3, "a", "bad"))
	require.NoError(t, client.Register(t.Context()))
	flow, err := client.Flow(t.Context(), "apply")
	require.NoError(t, err)
	run, err := flow.Runtime.Execute(t.Context(), flow)
	require.NoError(t, err)
	require.EqualValues(t, 1, run.Counters.DeadLettered, run.State)
	report, err := client.Replay(t.Context(), "apply", nil)
	require.NoError(t, err)
	require.Empty(t, report.Replayed)
	require.Len(t, report.Failed, 1)
	for _, err := range report.Failed {
		require.ErrorContains(t, err, "needs the order of the source, and the record would come after newer ones: change the row in the source once more")
	}
	require.Equal(t, []string{"1 a one"}, accounts(t, pool))
}

// A large batch is written by COPY.
func TestApply_Large(t *testing.T) {
	t.Parallel()
	pool := setup(t, accountTable)
	var changes []accountChange
	for i := range int64(3000) {
		changes = append(changes, insertOf(i, time.Duration(i).String(), "x"), updateOf(i/2, time.Duration(i/2).String(), "y"))
	}
	_, err := apply(t, pool, pgtable.Apply[account]("account", "id"), nil, changes...)
	require.NoError(t, err)
	require.Equal(t, []string{"3000"}, rowsOf(t, pool, `select count(*)::text from account`))
	require.Equal(t, []string{"1500"}, rowsOf(t, pool, `select count(*)::text from account where note = 'y'`))
}

// Batches are written while those before them are committed, and meet their keys: what is deleted,
// patched or moved was often written by the batch before.
func TestApply_Pipelined(t *testing.T) {
	t.Parallel()
	pool := setup(t, accountTable)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	want := map[int64]string{}
	var changes []accountChange
	for n := range int64(6000) {
		id := max(n-r.Int64N(300), 0)
		name := strconv.FormatInt(n, 10)
		_, is := want[id]
		switch kind := r.IntN(5); {
		case !is || kind == 0:
			changes, want[id] = append(changes, accountChange{Op: pgtable.ChangeInsert, New: account{id, nil, name}}), name
		case kind == 1:
			changes = append(changes, deleteOf(id))
			delete(want, id)
		case kind == 2:
			changes = append(changes, accountChange{Op: pgtable.ChangeUpdate, New: account{ID: id}, Absent: []string{"note"}})
		case kind == 3 && n%2 == 0: // it moves to another key
			changes = append(changes, movedFrom(id, accountChange{Op: pgtable.ChangeUpdate, New: account{n + 10_000, nil, name}}))
			delete(want, id)
			want[n+10_000] = name
		default:
			changes, want[id] = append(changes, accountChange{Op: pgtable.ChangeUpdate, New: account{id, nil, name}}), name
		}
	}
	flow := dataflow.NewFlow("apply", memory.Slice(changes), dataflow.Identity[accountChange](), pgtable.Apply[account]("account", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 70}, MaxAttempts: 1})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	_, err = client.Trigger(t.Context(), "apply", nil)
	require.NoError(t, err, "seed %d", seed)
	var texts []string
	for _, id := range slices.Sorted(maps.Keys(want)) {
		texts = append(texts, fmt.Sprintf("%d - %s", id, want[id]))
	}
	got := accounts(t, pool)
	for i := range min(len(texts), len(got)) {
		require.Equal(t, texts[i], got[i], "seed %d", seed)
	}
	require.Len(t, got, len(texts), "seed %d", seed)
}

// Whole rows are written together even where deletes must be applied one by one, as in the first
// load of a table of which another one's rows depend.
func TestApply_WholeRows(t *testing.T) {
	t.Parallel()
	pool := setup(t, accountTable, `create table child (id bigint primary key, account bigint references account on delete cascade)`, `create table said (n serial)`,
		`create function say() returns trigger language plpgsql as 'begin insert into said default values; return null; end'`,
		`create trigger say after insert on account for each statement execute function say()`)
	var changes []accountChange
	for i := range int64(200) {
		changes = append(changes, insertOf(i, time.Duration(i).String(), "x"))
	}
	_, err := apply(t, pool, pgtable.Apply[account]("account", "id"), nil, changes...)
	require.NoError(t, err)
	require.Equal(t, []string{"200"}, rowsOf(t, pool, `select count(*)::text from account`))
	require.Less(t, rowsOf(t, pool, `select lpad(count(*)::text, 3, '0') from said`)[0], "010")
}
