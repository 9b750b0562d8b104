// Package dataflowcli gives a program the command line of cmd/dataflow for its own flows: it
// can register them, start them in process, and work them.
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
// or the path of a SQLite file. This package links no SQLite library. To open SQLite files, the
// program must import one, such as modernc.org/sqlite.
package dataflowcli

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/cli"
)

// Database is the database that a command has connected to. Exactly one field is set. The
// command closes it.
type Database struct {
	// Postgres is nil on SQLite.
	Postgres *pgxpool.Pool
	// SQLite is nil on Postgres. It has one connection.
	SQLite *sql.DB
}

// Exec runs one or several statements without parameters.
func (d Database) Exec(ctx context.Context, statements string) error {
	var err error
	if d.Postgres != nil {
		_, err = d.Postgres.Exec(ctx, statements)
	} else {
		_, err = d.SQLite.ExecContext(ctx, statements)
	}
	return err
}

// Options describe the program to the command line. The zero value has no flows.
type Options struct {
	// Name is the name of the program in help and hints. Empty: the name of its file.
	Name string

	// DefaultURL is used if DATABASE_URL is not set, such as the path of a SQLite file.
	// Empty: DATABASE_URL must be set.
	DefaultURL string

	// Configure returns the settings of the client, with the flows of the program. It is
	// called each time a command has connected to the database, and should change nothing
	// there. If Logger is nil, the command sets it. Nil: the program has no flows and no
	// command work.
	Configure func(ctx context.Context, db Database) (*dataflow.Config, error)

	// Migrate makes the program's own tables. The command migrate up calls it each time,
	// after it has made ours, so it must do no harm to tables that exist. Nil: the program
	// has no tables.
	Migrate func(ctx context.Context, db Database) error
}

// Main runs the command in args, which do not include the program's name. It returns the exit
// code for the process: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by state, 5 database.
// It writes to standard output and standard error.
//
// The command ends early when ctx is done, on SIGINT, SIGTERM or SIGHUP, or when its output
// can no longer be written. A run that it works is then handed back. opts may be nil.
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
