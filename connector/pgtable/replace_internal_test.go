package pgtable

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// inTransaction runs f in a transaction like a checkpoint's.
func inTransaction(t *testing.T, pool *pgxpool.Pool, f func(ctx context.Context) error) error {
	t.Helper()
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	if err != nil {
		return err
	}
	return store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error { return f(ctx) })
}

func newReplace() *replaceSink[fact] {
	return &replaceSink[fact]{&replacer{into: newSink[fact]("facts", false, nil).to}}
}

// beginReplace begins to replace the table facts.
func beginReplace(t *testing.T, pool *pgxpool.Pool, flow string) (r dataflow.Replacement[fact]) {
	t.Helper()
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) (err error) {
		r, err = newReplace().BeginTx(ctx, flow)
		return err
	}))
	return r
}

// openTx is a transaction that the test must end.
type openTx struct {
	end  chan error
	done chan error
}

// hold runs f in a transaction and leaves it open.
func hold(t *testing.T, pool *pgxpool.Pool, f func(ctx context.Context) error) *openTx {
	t.Helper()
	h, open := &openTx{end: make(chan error, 1), done: make(chan error, 1)}, make(chan struct{})
	go func() {
		h.done <- inTransaction(t, pool, func(ctx context.Context) error {
			err := f(ctx)
			close(open)
			if err != nil {
				return err
			}
			return <-h.end
		})
	}()
	<-open
	return h
}

// waiting waits until n sessions wait for a lock.
func waiting(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var found int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`).Scan(&found))
		return found == n
	}, 2*time.Minute, 5*time.Millisecond)
}

// A worker that was taken over still writes, but cannot commit. The new worker
// waits for that transaction, and does not see its rows.
func TestReplace_OldHolder(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts, `insert into facts (id, name) values (1, 'before')`)
	first := beginReplace(t, pool, "f")
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return first.WriteTx(ctx, []fact{{ID: 10, Name: "committed"}}) }))
	old := hold(t, pool, func(ctx context.Context) error { return first.WriteTx(ctx, []fact{{ID: 11, Name: "open"}}) })

	var second dataflow.Replacement[fact]
	began := make(chan error, 1)
	go func() {
		began <- inTransaction(t, pool, func(ctx context.Context) (err error) {
			second, err = newReplace().BeginTx(ctx, "f")
			return err
		})
	}()
	waiting(t, pool, 1)
	old.end <- dataflow.ErrFenced
	require.ErrorIs(t, <-old.done, dataflow.ErrFenced)
	require.NoError(t, <-began)

	// The old worker continues with its next batch, in the new staging table.
	old = hold(t, pool, func(ctx context.Context) error { return first.WriteTx(ctx, []fact{{ID: 12, Name: "later"}}) })
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return second.WriteTx(ctx, []fact{{ID: 20, Name: "new"}}) }))
	ended := make(chan error, 1)
	go func() { ended <- inTransaction(t, pool, second.EndTx) }()
	waiting(t, pool, 1)
	require.Equal(t, []string{"(1,before)"}, query(t, pool, `select id, name from facts`))
	old.end <- dataflow.ErrFenced
	require.ErrorIs(t, <-old.done, dataflow.ErrFenced)
	require.NoError(t, <-ended)
	require.Equal(t, []string{"(20,new)"}, query(t, pool, `select id, name from facts`))
	require.Error(t, inTransaction(t, pool, first.EndTx), "there is nothing left that it could put there")
	require.Equal(t, []string{"(20,new)"}, query(t, pool, `select id, name from facts`))
}

// Two flows replace the same table while another adds to it. The last one to
// replace it also replaces the others' rows.
func TestReplace_OtherWriters(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	one, two := beginReplace(t, pool, "one"), beginReplace(t, pool, "two")
	for id, r := range map[int64]dataflow.Replacement[fact]{1: one, 2: two} {
		require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, []fact{{ID: id, Name: "replaced"}}) }))
	}
	adds := hold(t, pool, func(ctx context.Context) error {
		tx, _ := dataflowpgx.TxFrom(ctx)
		_, err := tx.Exec(ctx, `insert into facts values (3, 'added')`)
		return err
	})
	first := make(chan error, 1)
	go func() { first <- inTransaction(t, pool, one.EndTx) }()
	waiting(t, pool, 1)
	second := make(chan error, 1)
	go func() { second <- inTransaction(t, pool, two.EndTx) }()
	waiting(t, pool, 2)
	adds.end <- nil
	require.NoError(t, <-adds.done)
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	require.Equal(t, []string{"(2,replaced)"}, query(t, pool, `select id, name from facts`))
}

// Readers do not wait while the rows are replaced, and see the old rows.
func TestReplace_ReadersDoNotWait(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts, `insert into facts (id, name) values (1, 'before')`)
	r := beginReplace(t, pool, "f")
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, []fact{{ID: 2, Name: "new"}}) }))
	snapshot, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer snapshot.Rollback(t.Context()) //nolint:errcheck // it has nothing to commit
	read := func() (name string) {
		require.NoError(t, snapshot.QueryRow(t.Context(), `select name from facts`).Scan(&name))
		return name
	}
	require.Equal(t, "before", read())
	end := hold(t, pool, r.EndTx)
	require.Equal(t, []string{"(1,before)"}, query(t, pool, `select id, name from facts`))
	end.end <- nil
	require.NoError(t, <-end.done)
	require.Equal(t, []string{"(2,new)"}, query(t, pool, `select id, name from facts`))
	require.Equal(t, "before", read(), "an older snapshot")
}

// A missing privilege is reported before anything is read.
func TestReplace_Privileges(t *testing.T) {
	t.Parallel()
	// Before version 15, everybody may create tables in the schema public.
	owner, other, role := asRole(t, createFacts, `revoke create on schema public from public`)
	begin := func() error {
		return inTransaction(t, other, func(ctx context.Context) error {
			_, err := newReplace().BeginTx(ctx, "f")
			return err
		})
	}
	for _, c := range []struct{ grant, want string }{
		{`grant select on facts to ` + role, "table facts: its rows cannot be replaced: ERROR: permission denied for table facts"},
		{`grant insert on facts to ` + role, "table facts: its rows cannot be replaced: ERROR: permission denied for table facts"},
		{`grant delete on facts to ` + role, `ERROR: permission denied for schema public`},
		{`grant create on schema public to ` + role, ""},
		{`alter table facts enable row level security`, "table facts: row security is active for this role"},
	} {
		_, err := owner.Exec(t.Context(), c.grant)
		require.NoError(t, err)
		if err := begin(); c.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.want)
		}
	}
}

// Names are cut between characters, and differ for different flows and tables.
func TestStageName(t *testing.T) {
	t.Parallel()
	require.Equal(t, "dataflow_stage_facts_", stageName("facts", "f")[:21])
	long := strings.Repeat("é", 31)
	seen := map[string]bool{}
	for _, name := range []string{stageName("facts", "f"), stageName("facts", "g"), stageName(long, "f"), stageName(long+"x", "f")} {
		require.LessOrEqual(t, len(name), 63)
		require.True(t, strings.HasPrefix(name, "dataflow_stage_"))
		require.NotContains(t, name, "\uFFFD")
		seen[name] = true
	}
	require.Len(t, seen, 4)
}
