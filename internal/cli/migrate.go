package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) migrateCommand() *cobra.Command {
	return a.example(a.group("migrate", "Make, change and remove the tables",
		a.migrateUpCommand(), a.migrateDownCommand(), a.migrateStatusCommand(), a.migrateSQLCommand(),
	), "migrate up")
}

type migratedView struct {
	Database string   `json:"database"`
	Version  int      `json:"version"`
	Flows    []string `json:"flows"`
}

func (a *app) migrateUpCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "up", Short: "Bring River's tables and ours up to the newest version, and register the program's flows", Args: cobra.NoArgs,
		RunE: a.onAny(func(ctx context.Context, s *session, _ []string) error {
			work, end := s.longWork(ctx, 0)
			err := s.client.Migrate(work)
			end()
			if err != nil {
				return &databaseError{err}
			}
			// It fails for tables that are newer than this program; Migrate leaves those alone.
			if err := s.checkSchema(ctx); err != nil {
				return err
			}
			if s.program.Migrate != nil {
				if err := s.program.Migrate(ctx, s.db); err != nil {
					return &databaseError{fmt.Errorf("migrate the program's own tables: %w", err)}
				}
			}
			if len(s.config.Flows) > 0 {
				if err := s.client.Register(ctx); err != nil {
					return err
				}
			}
			m, err := s.client.Migrations(ctx)
			if err != nil {
				return err
			}
			view := migratedView{Database: s.name, Version: m.Version, Flows: jsonview.All(s.config.Flows, func(f *dataflow.Flow) string { return f.Name })}
			return s.show(view, func(p *page) {
				p.line("%s: the tables are at version %d.", s.name, m.Version)
				if len(view.Flows) > 0 {
					p.line("Registered: %s.", strings.Join(view.Flows, ", "))
					p.line("%s work works them; %[1]s enqueue NAME --wait starts a run now.", s.program.Name)
				}
			})
		}),
	}, "migrate up")
}

func (a *app) migrateDownCommand() *cobra.Command {
	to := -1
	cmd := &cobra.Command{
		Use: "down --to VERSION", Short: "Migrate our tables, not River's, down to a version; 0 removes them", Args: cobra.NoArgs,
		RunE: a.onAny(func(ctx context.Context, s *session, _ []string) error {
			m, err := s.client.Migrations(ctx)
			if err != nil {
				return &databaseError{err}
			}
			switch {
			case to < 0 || to > len(m.Migrations):
				return usage("--to must be a version from 0 to %d", len(m.Migrations))
			case m.Version > len(m.Migrations):
				return refused("the tables are at version %d, newer than the %d of this program: use a newer program", m.Version, len(m.Migrations))
			case to < m.Version:
				what := fmt.Sprintf("%s: this migrates the tables from version %d down to %d, and removes what only the newer version can hold.", s.name, m.Version, to)
				if to == 0 {
					what = s.name + ": this removes all flows, runs, cursors and counters, for good."
				}
				if err := s.confirm(ctx, what); err != nil {
					return err
				}
				work, end := s.longWork(ctx, 0)
				err := s.client.MigrateDown(work, to)
				end()
				if err != nil {
					return &databaseError{err}
				}
				m.Version = to
			}
			return s.show(migratedView{Database: s.name, Version: m.Version, Flows: []string{}}, func(p *page) {
				p.line("%s: the tables are at version %d.", s.name, m.Version)
			})
		}),
	}
	cmd.Flags().IntVar(&to, "to", -1, "the version, from migrate status")
	return a.example(a.confirmable(cmd), "migrate down --to 0 --yes")
}
