package pgchange_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// replica is a copy of tables in memory, by a stream that may be stopped and go on elsewhere.
type replica struct {
	t    *testing.T
	rows map[string]map[int64]string
	at   *pgchange.Position
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	return &replica{t: t, rows: make(map[string]map[int64]string)}
}

func (r *replica) apply(it item[named]) {
	c := it.Value
	if it.Mark || it.Resume {
		at := it.Cursor
		r.at = &at
	}
	if it.Mark {
		return
	}
	of := r.rows[c.Table]
	if of == nil || c.Op == pgtable.ChangeTruncate {
		of = make(map[int64]string)
		r.rows[c.Table] = of
	}
	if c.Old != nil {
		delete(of, c.Old.ID)
	}
	if c.Op == pgtable.ChangeInsert || c.Op == pgtable.ChangeUpdate {
		of[c.New.ID] = c.New.Name
	}
}

// follow reads until the tables in memory are as those of the database, and the load has ended.
// A read that ends because it must begin again does.
func (r *replica) follow(pool *pgxpool.Pool, options pgchange.Options, names ...string) {
	r.t.Helper()
	end := time.After(patience)
	for !r.read(end, pool, options, names) {
	}
}

func (r *replica) read(end <-chan time.Time, pool *pgxpool.Pool, options pgchange.Options, names []string) (same bool) {
	r.t.Helper()
	f := follow(r.t, pgchange.Stream[named](pool, options), r.at)
	defer f.stop()
	for {
		select {
		case it := <-f.items:
			r.apply(it)
			if it.Mark && r.is(pool, names) {
				return true
			}
		case err := <-f.errs:
			require.False(r.t, dataflow.IsPermanent(err), err)
			return false
		case <-end:
			require.Fail(r.t, "the copy differs", "%v", r.rows)
		}
	}
}

func (r *replica) is(pool *pgxpool.Pool, names []string) bool {
	r.t.Helper()
	for _, name := range names {
		if id := r.at.Loaded["public."+name]; id == "" || id == "left" {
			return false
		}
		have := r.rows["public."+name]
		var texts []string
		for _, id := range slices.Sorted(maps.Keys(have)) {
			texts = append(texts, fmt.Sprint(id, " ", have[id]))
		}
		if !slices.Equal(texts, rows(r.t, pool, "select id, name from "+name+" order by 1")) {
			return false
		}
	}
	return true
}

// Wherever changes of a table may be missing, it is loaded again, without the rows that are gone.
func TestStream_TableAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	pool := s.create("source")
	// tables makes two tables of a publication, which have its name.
	tables := func(t *testing.T, name string) (a, b string, options pgchange.Options) {
		t.Helper()
		a, b = name+"_a", name+"_b"
		for _, table := range []string{a, b} {
			exec(t, pool, "create table "+table+" (id bigint primary key, name text not null)", "insert into "+table+" select n, 'first' from generate_series(1, 4) n")
		}
		exec(t, pool, fmt.Sprintf("create publication %s for table %s, %s", name, a, b))
		return a, b, pgchange.Options{Publication: name, Slot: name, ChunkSize: 2}
	}
	t.Run("left out of the options", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "optional")
		r := newReplica(t)
		r.follow(pool, options, a, b)
		only := options
		only.Tables = []string{a}
		exec(t, pool, "insert into "+a+" values (5, 'second')")
		r.follow(pool, only, a)
		exec(t, pool, "delete from "+b+" where id = 1", "update "+b+" set name = 'second' where id = 2", "insert into "+b+" values (5, 'second')", "insert into "+a+" values (6, 'second')")
		r.follow(pool, only, a)
		r.follow(pool, options, a, b)
	})
	t.Run("taken out of the publication while nobody reads", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "unread")
		r := newReplica(t)
		r.follow(pool, options, a, b)
		// The insert is sent, and the delete is not.
		exec(t, pool, "insert into "+b+" values (5, 'second'), (6, 'second')", "alter publication unread drop table "+b, "delete from "+b+" where id in (1, 5)", "alter publication unread add table "+b)
		r.follow(pool, options, a, b)
	})
	t.Run("taken out of the publication while it is read", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "altered")
		r := newReplica(t)
		r.follow(pool, options, a, b)
		reads := func(n int) {
			require.Eventually(t, func() bool {
				return len(rows(t, pool, `select 1 from pg_replication_slots where slot_name = 'altered' and active`)) == n
			}, patience, poll)
		}
		reads(0)
		f := follow(t, pgchange.Stream[named](pool, options), r.at)
		reads(1)
		exec(t, pool, "alter publication altered drop table "+b, "delete from "+b+" where id = 1", "alter publication altered add table "+b, "insert into "+b+" values (5, 'second')")
		err := f.fails()
		require.ErrorContains(t, err, "table public."+b+", or its part in the publication, was altered or made anew while it was read: the read begins again")
		require.False(t, dataflow.IsPermanent(err))
		r.follow(pool, options, a, b)
	})
	t.Run("added twice before its load", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "twice")
		exec(t, pool, "alter publication twice drop table "+b)
		r := newReplica(t)
		r.follow(pool, options, a)
		exec(t, pool, "alter publication twice add table "+b, "insert into "+b+" values (5, 'second')", "alter publication twice drop table "+b, "delete from "+b+" where id = 5", "alter publication twice add table "+b)
		r.follow(pool, options, a, b)
	})
	t.Run("added while a transaction is open", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "straddled")
		exec(t, pool, "alter publication straddled drop table "+b)
		r := newReplica(t)
		r.follow(pool, options, a)
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "insert into "+b+" values (5, 'before')")
		require.NoError(t, err)
		exec(t, pool, "alter publication straddled add table "+b)
		f := follow(t, pgchange.Stream[named](pool, options), r.at)
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				select {
				case it := <-f.items:
					r.apply(it)
				case <-f.ended:
					return
				}
			}
		}()
		require.Eventually(t, func() bool { // its load wants to begin
			return len(rows(t, pool, `select 1 from pg_stat_activity where application_name = 'dataflow load straddled' and query ~* '^(begin|commit)'`)) == 1
		}, patience, poll)
		_, err = tx.Exec(t.Context(), "insert into "+b+" values (6, 'after')")
		require.NoError(t, err)
		require.NoError(t, tx.Commit(t.Context()))
		exec(t, pool, "insert into "+b+" values (7, 'later')")
		f.stop()
		<-read
		r.follow(pool, options, a, b)
	})
	t.Run("what is published is altered for a while", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "verbs")
		r := newReplica(t)
		r.follow(pool, options, a, b)
		exec(t, pool, "alter publication verbs set (publish = 'insert')", "delete from "+b+" where id = 1", "alter publication verbs set (publish = 'insert, update, delete, truncate')")
		r.follow(pool, options, a, b)
	})
	t.Run("its key is altered during the load", func(t *testing.T) {
		t.Parallel()
		a, b, options := tables(t, "keyed")
		exec(t, pool, "update "+a+" set id = id * 7, name = '0' || id")
		r := newReplica(t)
		f := follow(t, pgchange.Stream[named](pool, options), nil)
		for r.at == nil || r.at.After == nil {
			r.apply(f.one())
		}
		f.stop()
		exec(t, pool, fmt.Sprintf("alter table %s drop constraint %[1]s_pkey, add primary key (name)", a))
		r.follow(pool, options, a, b)
	})
}
