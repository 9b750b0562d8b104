// Package migration reads the numbered SQL files of a driver and finds those that
// a database lacks.
package migration

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Migration is one step of a schema.
type Migration struct {
	Version int
	Name    string
	Up      string
	Down    string
}

// UpStep returns the step up as SQL that can be run alone: it also records the step
// in the table of migrations. makeTable is the statement that creates that table; the
// first step includes it.
func (m *Migration) UpStep(makeTable, table string) string {
	head := ""
	if m.Version == 1 {
		head = strings.TrimSpace(makeTable) + ";\n\n"
	}
	return head + strings.TrimSpace(m.Up) + fmt.Sprintf("\n\ninsert into %s (version, name) values (%d, '%s');\n", table, m.Version, m.Name)
}

// DownStep returns the step down as SQL that can be run alone: it also removes the
// step from the table of migrations.
func (m *Migration) DownStep(table string) string {
	return strings.TrimSpace(m.Down) + fmt.Sprintf("\n\ndelete from %s where version = %d;\n", table, m.Version)
}

// Load reads files named NNN_name.up.sql and NNN_name.down.sql, in the order of
// their numbers. The numbers must begin at 1 and have no gap. Each number must have
// both files, with the same name.
func Load(files fs.FS, dir string) ([]Migration, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	byVersion := make(map[int]*Migration)
	for _, entry := range entries {
		if err := load(files, dir, entry.Name(), byVersion); err != nil {
			return nil, fmt.Errorf("migration file %s: %w", entry.Name(), err)
		}
	}
	all := make([]Migration, 0, len(byVersion))
	for version := 1; version <= len(byVersion); version++ {
		m := byVersion[version]
		if m == nil || m.Up == "" || m.Down == "" {
			return nil, fmt.Errorf("migration %d lacks its up or its down file", version)
		}
		all = append(all, *m)
	}
	return all, nil
}

func load(files fs.FS, dir, file string, byVersion map[int]*Migration) error {
	base, up := strings.CutSuffix(file, ".up.sql")
	if !up {
		var down bool
		if base, down = strings.CutSuffix(file, ".down.sql"); !down {
			return errors.New("it is neither .up.sql nor .down.sql")
		}
	}
	number, name, _ := strings.Cut(base, "_")
	version, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	text, err := fs.ReadFile(files, dir+"/"+file)
	if err != nil {
		return err
	}
	m := byVersion[version]
	if m == nil {
		m = &Migration{Version: version, Name: name}
		byVersion[version] = m
	}
	half := &m.Down
	if up {
		half = &m.Up
	}
	if m.Name != name || *half != "" {
		return fmt.Errorf("number %d is taken by %s", version, m.Name)
	}
	*half = string(text)
	return nil
}

// Check returns nil if a database is at the version that this program needs, and
// else an error that says what to do.
func Check(what string, have, need int) error {
	switch {
	case have == need:
		return nil
	case have > need:
		return fmt.Errorf("%s in the database are at version %d, newer than the %d of this program: run a newer program, or take the tables down", what, have, need)
	case have == 0:
		return fmt.Errorf("%s are not in the database: call client.Migrate once before Start", what)
	default:
		return fmt.Errorf("%s in the database are at version %d, and this program needs %d: call client.Migrate before Start", what, have, need)
	}
}

// Unreadable returns the error for tables whose version cannot be read.
func Unreadable(what string, err error) error {
	return fmt.Errorf("read version of %s: %w: if they are newer than this program, run a newer program", what, err)
}

// Upto returns the migrations from a version up to the newest.
func Upto(all []Migration, from int) []Migration {
	if from >= len(all) {
		return nil
	}
	return all[from:]
}

// Downto returns the migrations to undo to get from one version down to another,
// newest first. It returns none if from is not above to.
func Downto(all []Migration, from, to int) ([]Migration, error) {
	if to < 0 || to > len(all) || from > len(all) {
		return nil, fmt.Errorf("cannot migrate from version %d down to %d: this program knows 0 to %d", from, to, len(all))
	}
	if to >= from {
		return nil, nil
	}
	undo := slices.Clone(all[to:from])
	slices.Reverse(undo)
	return undo, nil
}
