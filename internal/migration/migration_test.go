package migration_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/migration"
)

// files returns migration files whose content is their name.
func files(names ...string) fstest.MapFS {
	fs := fstest.MapFS{"other/001_x.up.sql": {Data: []byte("not ours")}}
	for _, name := range names {
		fs["sql/"+name] = &fstest.MapFile{Data: []byte(name)}
	}
	return fs
}

// four returns four migrations.
func four(t *testing.T) []migration.Migration {
	t.Helper()
	var names []string
	for _, n := range []string{"001_a", "002_b", "003_c", "004_d"} {
		names = append(names, n+".up.sql", n+".down.sql")
	}
	all, err := migration.Load(files(names...), "sql")
	require.NoError(t, err)
	return all
}

func versions(all []migration.Migration) []int {
	got := []int{}
	for _, m := range all {
		got = append(got, m.Version)
	}
	return got
}

func TestLoad(t *testing.T) {
	t.Parallel()
	all, err := migration.Load(files(
		"010_ten.up.sql", "010_ten.down.sql", "002_b.down.sql", "002_b.up.sql", "1_first_of_all.up.sql", "001_first_of_all.down.sql",
		"003_c.up.sql", "003_c.down.sql", "004_d.up.sql", "004_d.down.sql", "005_e.up.sql", "005_e.down.sql", "006_f.up.sql", "006_f.down.sql",
		"007_g.up.sql", "007_g.down.sql", "008_h.up.sql", "008_h.down.sql", "009_i.up.sql", "009_i.down.sql",
	), "sql")
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, versions(all))
	require.Equal(t, migration.Migration{Version: 1, Name: "first_of_all", Up: "1_first_of_all.up.sql", Down: "001_first_of_all.down.sql"}, all[0])
	require.Equal(t, migration.Migration{Version: 10, Name: "ten", Up: "010_ten.up.sql", Down: "010_ten.down.sql"}, all[9])
}

func TestLoad_Wrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"NoDirectory": {fstest.MapFS{}, "sql"},
		"NoDown":      {files("001_a.up.sql"), "migration 1 lacks its up or its down file"},
		"NoUp":        {files("001_a.up.sql", "001_a.down.sql", "002_b.down.sql"), "migration 2 lacks its up or its down file"},
		"Gap":         {files("001_a.up.sql", "001_a.down.sql", "003_c.up.sql", "003_c.down.sql"), "migration 2 lacks"},
		"FromZero":    {files("000_a.up.sql", "000_a.down.sql"), "migration 1 lacks"},
		"FromTwo":     {files("002_a.up.sql", "002_a.down.sql"), "migration 1 lacks"},
		"Negative":    {files("-1_a.up.sql", "-1_a.down.sql"), "migration 1 lacks"},
		"NoNumber":    {files("first.up.sql"), "migration file first.up.sql"},
		"NotSQL":      {files("001_a.up.sql", "001_a.down.sql", "README.md"), "migration file README.md: it is neither"},
		"NoDirection": {files("001_a.sql"), "migration file 001_a.sql: it is neither"},
		"Empty":       {fstest.MapFS{"sql/001_a.up.sql": {}, "sql/001_a.down.sql": {Data: []byte("x")}}, "migration 1 lacks"},
		"TwoNames":    {files("001_a.up.sql", "001_b.down.sql"), "migration file 001_b.down.sql: number 1 is taken by a"},
		"TwoFiles":    {files("001_a.up.sql", "01_a.up.sql", "001_a.down.sql"), "migration file 01_a.up.sql: number 1 is taken by a"},
		"TwoOfNumber": {files("001_a.up.sql", "001_a.down.sql", "001_b.up.sql", "001_b.down.sql"), "number 1 is taken by a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, err := migration.Load(c.files, "sql")
			require.ErrorContains(t, err, c.want)
			require.Nil(t, all)
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, migration.Check("our tables", 3, 3))
	require.NoError(t, migration.Check("our tables", 0, 0))
	require.EqualError(t, migration.Check("our tables", 0, 3),
		"our tables are not in the database: call client.Migrate once before Start")
	require.EqualError(t, migration.Check("our tables", 2, 3),
		"our tables in the database are at version 2, and this program needs 3: call client.Migrate before Start")
	require.EqualError(t, migration.Check("our tables", 4, 3),
		"our tables in the database are at version 4, newer than the 3 of this program: run a newer program, or take the tables down")
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such version")
	err := migration.Unreadable("our tables", cause)
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "read version of our tables: no such version: if they are newer than this program, run a newer program")
}

func TestUpto(t *testing.T) {
	t.Parallel()
	all := four(t)
	for from, want := range map[int][]int{0: {1, 2, 3, 4}, 1: {2, 3, 4}, 3: {4}, 4: {}, 5: {}, 99: {}} {
		require.Equal(t, want, versions(migration.Upto(all, from)), "from %d", from)
	}
}

func TestDownto(t *testing.T) {
	t.Parallel()
	all := four(t)
	for _, c := range []struct {
		from, to int
		want     []int
	}{
		{4, 0, []int{4, 3, 2, 1}},
		{4, 3, []int{4}},
		{3, 1, []int{3, 2}},
		{4, 4, []int{}},
		{0, 0, []int{}},
		{1, 2, []int{}},
		{0, 4, []int{}},
	} {
		undo, err := migration.Downto(all, c.from, c.to)
		require.NoError(t, err)
		require.Equal(t, c.want, versions(undo), "from %d to %d", c.from, c.to)
	}
	require.Equal(t, []int{1, 2, 3, 4}, versions(all), "the list is unchanged")
}

func TestDownto_OutOfRange(t *testing.T) {
	t.Parallel()
	all := four(t)
	for _, c := range []struct{ from, to int }{{4, -1}, {0, -1}, {4, 5}, {0, 5}, {5, 0}, {5, 4}, {5, 5}} {
		undo, err := migration.Downto(all, c.from, c.to)
		require.ErrorContains(t, err, "this program knows 0 to 4", "from %d to %d", c.from, c.to)
		require.Nil(t, undo)
	}
}
