package pgchange_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/internal/notes"
)

const partedTable = `create table parted (id bigint primary key, name text not null) partition by range (id);
	create table low partition of parted for values from (0) to (10); create table high partition of parted for values from (10) to (20);
	insert into parted values (1, 'a'), (2, 'b'), (11, 'c')`

// Where the rows of a table come by another name, what was deleted in between is not in the log that is
// read. So its rows are removed from the target, and all is loaded again.
func TestStream_OtherName(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	read := func(t *testing.T, pool *pgxpool.Pool, loaded int, gone string, statements []string, changes ...string) string {
		t.Helper()
		options := pgchange.Options{Publication: "p", Slot: pool.Config().ConnConfig.Database}
		f := follow(t, pgchange.Stream[named](pool, options), nil)
		at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == loaded })
		f.stop()
		idleSlot(t, pool, options.Slot)
		exec(t, pool, statements...)
		var log lines
		f = followIn(notes.With(t.Context(), log.logger()), t, pgchange.Stream[named](pool, options), &at)
		for _, want := range changes {
			it := f.next(1)[0]
			require.Equal(t, want, it.Value.Table+" "+lines2([]item[named]{it})[0])
		}
		at = f.mark(func(p pgchange.Position) bool { return p.Table == "" && len(p.Loaded) > 0 })
		for _, name := range strings.Fields(gone) {
			require.NotContains(t, at.Loaded, name)
		}
		f.stop()
		return log.text.String()
	}
	t.Run("the root of partitions", func(t *testing.T) {
		t.Parallel()
		pool := s.create("to_root", partedTable, `create publication p for table parted`)
		log := read(t, pool, 2, "public.high public.low", []string{`alter publication p set (publish_via_partition_root = true)`, `delete from parted where id = 1`},
			"public.high truncate 0 ", "public.low truncate 0 ", "public.parted insert 2 b", "public.parted insert 11 c")
		require.Contains(t, log, `table public.low is not read by this name any more: it was renamed, or publication \"p\" was altered. Its rows in the target are removed`)
	})
	t.Run("partitions for their root", func(t *testing.T) {
		t.Parallel()
		pool := s.create("to_leaves", partedTable, `create publication p for table parted with (publish_via_partition_root = true)`)
		read(t, pool, 1, "public.parted", []string{`delete from parted where id = 1`, `alter publication p set (publish_via_partition_root = false)`},
			"public.parted truncate 0 ", "public.high insert 11 c", "public.low insert 2 b")
	})
	t.Run("a table that is renamed", func(t *testing.T) {
		t.Parallel()
		pool := s.create("renamed", partedTable, `create publication p for table low, high`)
		read(t, pool, 2, "public.low", []string{`alter table low rename to lower`, `delete from parted where id = 1`},
			"public.low truncate 0 ", "public.high truncate 0 ", "public.high insert 11 c", "public.lower insert 2 b")
	})
	t.Run("a table that leaves while its publication is altered", func(t *testing.T) {
		t.Parallel()
		pool := s.create("leaves", partedTable, `create publication p for table low, high`)
		log := read(t, pool, 2, "", []string{`alter publication p set (publish = 'insert, update, delete')`, `alter publication p drop table low`},
			"public.high truncate 0 ", "public.high insert 11 c")
		require.Contains(t, log, "Its rows stay in the target")
	})
	t.Run("a table that is renamed in its load", func(t *testing.T) {
		t.Parallel()
		pool := s.create("half", partedTable, `create publication p for table low`)
		source := pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "half", ChunkSize: 1})
		f := follow(t, source, nil)
		at := f.mark(func(p pgchange.Position) bool { return p.After != nil })
		f.stop()
		idleSlot(t, pool, "half")
		exec(t, pool, `alter table low rename to lower`, `delete from parted where id = 1`)
		f = follow(t, source, &at)
		require.Equal(t, []string{"truncate 0 "}, lines2(f.next(1)))
		require.Equal(t, []string{"insert 2 b"}, lines2(f.next(1)))
	})
}

// A partition that is detached and attached again has changes that were not published. If it is read by
// its own name, all is loaded again; if by its root, the log says so.
func TestStream_AttachedAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	away := []string{`alter table parted detach partition low`, `delete from low where id = 1`, `insert into low values (3, 'n')`, `alter table parted attach partition low for values from (0) to (10)`, `insert into parted values (4, 'm')`}
	for _, byRoot := range []string{"false", "true"} {
		t.Run(byRoot, func(t *testing.T) {
			t.Parallel()
			pool := s.create("by_root_"+byRoot, partedTable, `create publication p for table parted with (publish_via_partition_root = `+byRoot+`)`)
			var log lines
			ctx := notes.With(t.Context(), log.logger())
			source := pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "s" + byRoot})
			f := followIn(ctx, t, source, nil)
			f.next(3)
			at := f.mark(func(p pgchange.Position) bool { return p.Loaded["public.parted"]+p.Loaded["public.low"] != "" })
			f.stop()
			idleSlot(t, pool, "s"+byRoot)
			exec(t, pool, away...)
			f = followIn(ctx, t, source, &at)
			if byRoot == "true" && version(t, pool) < 150000 {
				return // Postgres 13 and 14 send nothing of a partition that the connection met while it was detached
			}
			if byRoot == "true" {
				require.Equal(t, []string{"insert 4 m"}, lines2(f.next(1)))
				require.Equal(t, 1, log.count("partition low was detached from table public.parted and attached again"))
				return
			}
			require.Equal(t, []string{"truncate 0 "}, lines2(f.next(1)))
			require.Equal(t, []string{"truncate 0 ", "insert 11 c", "insert 2 b", "insert 3 n", "insert 4 m"}, lines2(f.next(5)))
			require.Contains(t, at.Loaded["public.low"], "@")
			id, _, _ := strings.Cut(at.Loaded["public.high"], "@") // as in cursors from before
			at = f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 2 })
			f.stop()
			idleSlot(t, pool, "s"+byRoot)
			at.Loaded["public.high"] = id
			exec(t, pool, `insert into parted values (5, 'o')`)
			require.Equal(t, []string{"insert 5 o"}, lines2(follow(t, source, &at).next(1)))
		})
	}
}

// A partition in another schema than its table is published by the schema of that, and so not while it is detached. One
// whose own schema is published has its changes in the log meanwhile.
func TestStream_AttachedAgainBySchema(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for own, want := range map[string][]string{"": {"truncate 0 ", "insert 2 b", "insert 3 n", "insert 4 m"}, ", aside": {"insert 4 m"}} {
		pool := s.create("schemas"+strconv.Itoa(len(own)), `create schema aside`, `create table parted (id bigint primary key, name text not null) partition by range (id)`,
			`create table aside.low partition of parted for values from (0) to (10)`, `insert into parted values (1, 'a'), (2, 'b')`)
		if version(t, pool) < 150000 {
			return // publications have no schemas before Postgres 15
		}
		exec(t, pool, `create publication p for tables in schema public`+own)
		slot := "s" + strconv.Itoa(len(own))
		source := pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: slot, Tables: []string{"aside.low"}})
		f := follow(t, source, nil)
		at := f.mark(func(p pgchange.Position) bool { return len(p.Loaded) == 1 })
		f.stop()
		idleSlot(t, pool, slot)
		exec(t, pool, `alter table parted detach partition aside.low`, `delete from aside.low where id = 1`, `insert into aside.low values (3, 'n')`,
			`alter table parted attach partition aside.low for values from (0) to (10)`, `insert into parted values (4, 'm')`)
		if own != "" {
			want = append([]string{"delete 0  old 1", "insert 3 n"}, want...)
		}
		f = follow(t, source, &at)
		for _, line := range want {
			require.Equal(t, []string{line}, lines2(f.next(1)), own)
		}
	}
}
