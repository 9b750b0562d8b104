// Package dataflowcli gives a program the command line of cmd/dataflow, with flows of its
// own: it can work them, register them, and start them in process.
//
//	func main() {
//		os.Exit(dataflowcli.Main(context.Background(), os.Args[1:], &dataflowcli.Options{
//			Configure: func(ctx context.Context, db dataflowcli.Database) (*dataflow.Config, error) {
//				return &dataflow.Config{Flows: flows(db.Postgres)}, nil
//			},
//		}))
//	}
//
// The environment variable DATABASE_URL names the database: postgres://user:password@host/name,
// or the path of a SQLite file. A program that is to open SQLite files links a library
// for them, such as modernc.org/sqlite; this package links none.
package dataflowcli

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
)

// Database is what a command has connected to: one of both is set. The command closes it.
type Database struct {
	// Postgres is nil on SQLite.
	Postgres *pgxpool.Pool
	// SQLite is nil on Postgres. It has one connection.
	SQLite *sql.DB
}

// Exec runs a statement, or several, without parameters.
func (d Database) Exec(ctx context.Context, statements string) error {
	var err error
	if d.Postgres != nil {
		_, err = d.Postgres.Exec(ctx, statements)
	} else {
		_, err = d.SQLite.ExecContext(ctx, statements)
	}
	return err
}

// Options say what the command line knows of its program. The zero value knows no flows.
type Options struct {
	// Name is what the program is called in help and hints. Empty: the name of its file.
	Name string

	// DefaultURL is the database if DATABASE_URL is not set, such as the path of a SQLite
	// file. Empty: DATABASE_URL must be set.
	DefaultURL string

	// Configure returns the settings of the client, and in them the flows of the program,
	// whenever a command has connected to the database; it should change nothing there. Of
	// the settings, Logger is the command's if it is nil. Configure must not be nil for a
	// program that is to work flows: without it, there is no command work.
	Configure func(ctx context.Context, db Database) (*dataflow.Config, error)

	// Migrate makes the program's own tables, after ours, in the command migrate up. It
	// is called each time, and must do no harm to tables that are there. Nil: there are
	// none.
	Migrate func(ctx context.Context, db Database) error
}

// Main runs the command that args say, without the program's name, and returns the exit code
// for the process: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by state, 5 database.
// It writes to standard output and standard error, and ends when ctx is done, on an
// interrupt, when it is told to end, and when its terminal closes; a run that it works is
// handed back then. opts may be nil.
func Main(ctx context.Context, args []string, opts *Options) int {
	if opts == nil {
		opts = &Options{}
	}
	p := cli.Program{Name: opts.Name, DefaultURL: opts.DefaultURL}
	if opts.Configure != nil {
		p.Configure = func(ctx context.Context, db cli.Database) (*dataflow.Config, error) {
			return opts.Configure(ctx, Database(db))
		}
	}
	if opts.Migrate != nil {
		p.Migrate = func(ctx context.Context, db cli.Database) error { return opts.Migrate(ctx, Database(db)) }
	}
	return cli.Main(ctx, args, p)
}
