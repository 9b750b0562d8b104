package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

type migrationsView struct {
	Database     string          `json:"database"`
	Version      int             `json:"version"`
	Newest       int             `json:"newest"`
	RiverVersion int             `json:"river_version"`
	RiverNewest  int             `json:"river_newest"`
	Migrations   []migrationView `json:"migrations"`
}

type migrationView struct {
	Version   int        `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

func (a *app) migrateStatusCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "status", Short: "Show which migrations the database has", Args: cobra.NoArgs,
		RunE: a.onAny(func(ctx context.Context, s *session, _ []string) error {
			m, err := s.client.Migrations(ctx)
			if err != nil {
				return &databaseError{err}
			}
			view := migrationsView{
				Database: s.name, Version: m.Version, Newest: len(m.Migrations), RiverVersion: m.RiverVersion, RiverNewest: m.RiverNewest,
				Migrations: jsonview.All(m.Migrations, func(m dataflow.Migration) migrationView {
					return migrationView{Version: m.Version, Name: m.Name, AppliedAt: jsonview.UTC(m.AppliedAt)}
				}),
			}
			return s.show(view, view.page)
		}),
	}, "migrate status")
}

func (v *migrationsView) page(p *page) {
	p.line("%s", v.Database)
	rows := make([][]string, len(v.Migrations), len(v.Migrations)+1)
	for i, m := range v.Migrations {
		state := "pending"
		if m.AppliedAt != nil {
			state = "applied"
		}
		rows[i] = []string{fmt.Sprint(m.Version), m.Name, state, moment(m.AppliedAt)}
	}
	p.table([]string{"VERSION", "NAME", "STATE", "AT"}, rows)
	if v.Version > v.Newest {
		p.line("The tables are at version %d, newer than the %d of this program.", v.Version, v.Newest)
	}
	p.line("River's tables are at version %d of %d.", v.RiverVersion, v.RiverNewest)
}

func (a *app) migrateSQLCommand() *cobra.Command {
	var down, all bool
	cmd := &cobra.Command{
		Use: "sql", Short: "Print the SQL that migrate up would run on our tables, to run it by other means", Args: cobra.NoArgs,
		Long: `Print the SQL that migrate up would run on our tables, to run it by other means. Each step is
a transaction of its own. The SQL does not make River's tables: make them first, with River's
own command line (river migrate-get --up).`,
		RunE: a.onAny(func(ctx context.Context, s *session, _ []string) error {
			m, err := s.client.Migrations(ctx)
			if err != nil {
				return &databaseError{err}
			}
			steps := make([]sqlView, 0, len(m.Migrations))
			for _, step := range m.Migrations {
				if all || (step.AppliedAt != nil) == down {
					steps = append(steps, viewSQL(step, down))
				}
			}
			if down {
				for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
					steps[i], steps[j] = steps[j], steps[i]
				}
			}
			return s.show(steps, func(p *page) {
				for _, step := range steps {
					fmt.Fprintf(&p.buf, "-- %d %s\nbegin;\n%s\ncommit;\n\n", step.Version, step.Name, step.SQL)
				}
				if len(steps) == 0 {
					p.line("-- There is nothing to do.")
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&down, "down", false, "print the SQL that undoes the applied migrations, newest first")
	cmd.Flags().BoolVar(&all, "all", false, "include all migrations, applied or not")
	return a.example(cmd, "migrate sql --all > dataflow.sql")
}

type sqlView struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	SQL     string `json:"sql"`
}

func viewSQL(m dataflow.Migration, down bool) sqlView {
	if down {
		return sqlView{Version: m.Version, Name: m.Name, SQL: m.Down}
	}
	return sqlView{Version: m.Version, Name: m.Name, SQL: m.Up}
}
