package cli

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// Database is the database that a command has connected to. Exactly one field is set.
type Database struct {
	Postgres *pgxpool.Pool
	SQLite   *sql.DB
}

// driver returns the driver of the database.
func (d Database) driver() dataflow.Driver {
	if d.Postgres != nil {
		return dataflowpgx.New(d.Postgres)
	}
	return dataflowsqlite.New(d.SQLite)
}

func (d Database) close() {
	if d.Postgres != nil {
		d.Postgres.Close()
		return
	}
	_ = d.SQLite.Close()
}

// session is a command's connection to a database.
type session struct {
	*app
	db     Database
	name   string // the name of the database, without secrets
	makes  bool   // whether the command makes a SQLite file that does not exist
	config dataflow.Config
	client *dataflow.Client
	store  dataflow.Store
}

// connectTimeout is how long a command waits for a server that does not answer.
const connectTimeout = 10 * time.Second

type action func(ctx context.Context, s *session, args []string) error

// on wraps an action that needs a database whose tables have the version of this program.
func (a *app) on(do action) func(*cobra.Command, []string) error {
	return a.onAny(func(ctx context.Context, s *session, args []string) error {
		if err := s.checkSchema(ctx); err != nil {
			return err
		}
		return do(ctx, s, args)
	})
}

// onAny wraps an action that needs a database in any state.
func (a *app) onAny(do action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(cmd, false)
		if err != nil {
			return err
		}
		defer s.db.close()
		return do(cmd.Context(), s, args)
	}
}

// connect opens the database of a command, and makes a client. The client logs if logs is
// true.
func (a *app) connect(cmd *cobra.Command, logs bool) (*session, error) {
	ctx := cmd.Context()
	s := &session{app: a, makes: slices.Contains(makesFiles, strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "))}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.configure(ctx, logs); err != nil {
		s.db.close()
		return nil, err
	}
	return s, nil
}

func (s *session) configure(ctx context.Context, logs bool) error {
	if s.program.Configure != nil {
		config, err := s.program.Configure(ctx, s.db)
		if err != nil {
			return fmt.Errorf("configure: %w", err)
		}
		if config != nil {
			s.config = *config
		}
	}
	s.config.Schema = cmp.Or(s.schema, s.config.Schema)
	if s.config.Logger == nil {
		s.config.Logger = s.logger(logs)
	}
	if s.config.Clock != nil {
		s.Now = s.config.Clock
	}
	var err error
	if s.client, err = dataflow.NewClient(s.db.driver(), &s.config); err != nil {
		return err
	}
	s.store, err = s.db.driver().Store(dataflow.StoreOptions{Schema: s.schemaName(), Clock: s.config.Clock, Logger: s.config.Logger})
	return err
}

// schemaName is the schema of the tables. It is empty for the schema of the connection.
func (s *session) schemaName() string {
	if s.config.Schema == "" && s.config.River != nil {
		return s.config.River.Schema
	}
	return s.config.Schema
}

// checkSchema returns an error that says what to do unless the tables have the version of
// this program.
func (s *session) checkSchema(ctx context.Context) error {
	err := s.store.CheckSchema(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &databaseError{fmt.Errorf("%s: %s", s.name, s.inCommands(err.Error(), ""))}
}

const urlForms = "use postgres://user:password@host/name, or the path of a SQLite file"

func (s *session) open(ctx context.Context) error {
	given := cmp.Or(s.Env("DATABASE_URL"), s.program.DefaultURL)
	path, isFile := strings.CutPrefix(given, "sqlite:")
	isFile = isFile || !strings.Contains(given, "://")
	switch {
	case given == "":
		return usage("DATABASE_URL is not set: %s", urlForms)
	case strings.HasPrefix(given, "postgres://"), strings.HasPrefix(given, "postgresql://"):
		return s.openPostgres(ctx, given)
	case !isFile:
		scheme, _, _ := strings.Cut(given, "://")
		return usage("DATABASE_URL has the unknown scheme %q: %s", scheme, urlForms)
	case strings.ContainsAny(path, "=@") && !strings.HasPrefix(given, "sqlite:"), strings.HasPrefix(given, "postgres"):
		// Such as "host=localhost password=…", or a mistyped URL: neither is meant as the
		// name of a file. The error does not quote it, because it may hold a password.
		return usage("DATABASE_URL is neither a URL nor a path: %s", urlForms)
	default:
		return s.openSQLite(ctx, strings.TrimPrefix(path, "//"))
	}
}

func (s *session) openPostgres(ctx context.Context, given string) error {
	s.keepSecret(s.Env("PGPASSWORD"))
	// It quotes neither the text nor the parser's error: both may hold the password.
	bad := usage("DATABASE_URL is not a valid Postgres URL: %s; percent-encode special characters", urlForms)
	u, err := url.Parse(given)
	if err != nil {
		return bad
	}
	if password, ok := u.User.Password(); ok {
		s.keepSecret(password)
	}
	for name, values := range u.Query() {
		if strings.Contains(name, "password") {
			s.keepSecret(values...)
		}
	}
	config, err := pgxpool.ParseConfig(given)
	if err != nil {
		return bad
	}
	s.keepSecret(config.ConnConfig.Password)
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "dataflow-cli"
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err == nil {
		if err = pool.Ping(ctx); err != nil {
			pool.Close()
		}
	}
	if err != nil {
		return &databaseError{unconnected(config.ConnConfig, err)}
	}
	s.db = Database{Postgres: pool}
	s.name = "Postgres, " + config.ConnConfig.Database
	return nil
}

// unconnected says why there is no connection. Of several answers it tells the server's: pgx also
// reports the tries with and without TLS.
func unconnected(c *pgx.ConnConfig, err error) error {
	var refused *pgconn.PgError
	var dialled *net.OpError
	var unresolved *net.DNSError
	switch {
	case errors.As(err, &refused):
		return sqlstate.Explain(fmt.Errorf("connect to Postgres, database %q, as user %q: %w", c.Database, c.User, refused))
	case errors.As(err, &unresolved) && unresolved.IsNotFound:
		return fmt.Errorf("connect to Postgres: %w: see whether DATABASE_URL has the server's host", &oneLineError{err})
	case errors.As(err, &dialled) && dialled.Op == "dial":
		return fmt.Errorf("connect to Postgres: %w: see whether a server listens there, and whether DATABASE_URL has its host and port", &oneLineError{err})
	default:
		return fmt.Errorf("connect to Postgres: %w", &oneLineError{err})
	}
}

// oneLineError is an error whose text is on one line, and says nothing twice: pgx writes a line for each
// try.
type oneLineError struct{ error }

func (e *oneLineError) Unwrap() error { return e.error }

func (e *oneLineError) Error() string {
	first, rest, _ := strings.Cut(e.error.Error(), "\n")
	var tries []string
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" && !slices.ContainsFunc(tries, func(earlier string) bool { return strings.HasSuffix(earlier, line) }) {
			tries = append(tries, line)
		}
	}
	return strings.TrimSpace(first + " " + strings.Join(tries, "; "))
}

// keepSecret adds texts that redact removes. A short one is also a part of ordinary words, as
// postgres is. So it is removed only where a password stands.
func (a *app) keepSecret(texts ...string) {
	for _, text := range texts {
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text), url.UserPassword("", text).String()[1:]} {
			switch {
			case text == "":
			case len(text) > shortSecret:
				a.secrets = append(a.secrets, form)
			default:
				a.secrets = append(a.secrets, ":"+form+"@", "password="+form)
			}
		}
	}
	slices.SortFunc(a.secrets, func(x, y string) int { return cmp.Compare(len(y), len(x)) })
}

const shortSecret = 8

// redact replaces the secrets in a text by ***.
func (a *app) redact(text string) string {
	for _, secret := range a.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
