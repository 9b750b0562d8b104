package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Each kind of bad input has its own exit code, and a message that says what to write instead.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.ok("enqueue", "orders", "--wait")
		for _, c := range []struct {
			args string
			code int
			says string
		}{
			{"bogus", 2, `unknown command "bogus"`},
			{"enqueu orders", 2, `unknown command "enqueu": did you mean enqueue or enqueue-all? Else see shop --help`},
			{"flow bogus", 2, `unknown command "bogus"`},
			{"flow list extra", 2, `shop flow list takes no argument, and this was given: "extra"`},
			{"run list orders nightly", 2, `shop run list takes [NAME], and this was given: "orders" "nightly"`},
			{"migrate-runtime", 2, "--to job_queue or --to heartbeat"},
			{"preview", 2, "takes (NAME | --file FILE), and none was given"},
			{"backfill orders --from [1] --until [2]", 2, "\n--until: [2] is not a cursor of the source"},
			{"flow list --bogus", 2, "unknown flag: --bogus"},
			{"flow show", 2, "shop flow show takes NAME, and none was given: see shop flow show --help"},
			{"run list --limit many", 2, `invalid argument "many"`},
			{"run list --limit -3", 2, "use a number from 1 to 10000"},
			{"status -o yaml", 2, "use table or json"},
			{"flow list --state sleepy", 2, "use active or paused"},
			{"run list --state sleepy", 2, "use pending, in_progress, success, failed or cancelled"},
			{"run show seven", 2, `"seven" is not the id of a run`},
			{"run show -- -7", 2, "is not the id of a run"},
			{"run show 99999999999999999999", 2, "is not the id of a run"},
			{"run cancel 1.5", 2, "is not the id of a run"},
			{"enqueue orders --at tomorrow", 2, "is not a time"},
			{"schedule next orders --after soon", 2, "is not a time"},
			{"flow show missing", 3, `flow "missing": not found: see shop flow list`},
			{"flow pause missing", 3, "not found"},
			{"flow resume missing", 3, "not found"},
			{"flow why missing", 3, "not found"},
			{"enqueue missing", 3, "not found"},
			{"schedule next missing", 3, "not found"},
			{"run list --flow missing", 3, "not found"},
			{`run list --flow ""`, 3, "not found"},
			{"run show 99", 3, "run 99: not found: see shop run list"},
			{"run show 99 --follow", 3, "run 99: not found"},
			{"run cancel 99", 3, "run 99: not found"},
			{"run cancel 1", 4, "run is finished, with the state success"},
			{"enqueue broken --wait", 1, "the shop is"},
		} {
			require.Contains(t, t.fails(c.code, words(c.args)...), c.says, c.args)
		}
		require.Contains(t, t.fails(3, "flow", "show", strings.Repeat("x", 300)), "not found")
		require.Contains(t, t.fails(3, "flow", "show", "; drop table dataflow_flow --"), "not found")
	})
}

// A number out of range is refused before anything is done, whether or not there are rows.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for command, says := range map[string]string{
		"schedule next -n":           "use a number from 1 to 10000",
		"run list --limit":           "use a number from 1 to 10000",
		"run list --before":          "use a number from 1 on",
		"preview orders --limit":     "use a number from 1 to 10000",
		"cursor history f --limit":   "use a number from 1 to 10000",
		"cursor history f --before":  "use a number from 1 on",
		"cursor set f --if-seq":      "use a number from 0 on",
		"dead-letter list --limit":   "use a number from 1 to 10000",
		"dead-letter list --run":     "use a number from 1 on",
		"dead-letter list --before":  "use a number from 1 on",
		"dead-letter replay f --id":  "use a number from 1 on",
		"migrate-runtime --priority": "use a number from 1 to 4",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			c := newCLI(t, "")
			bad := []string{"-1", "0", "many", "1.5", "", "99999999999999999999", "1000000000"}
			switch {
			case strings.HasSuffix(command, "-seq"):
				bad = []string{"-1", "many", "99999999999999999999"}
			case strings.HasSuffix(says, "on"):
				bad = bad[:len(bad)-1]
			}
			for _, number := range bad {
				require.Contains(t, c.fails(2, append(words(command), number)...), says, number)
			}
			require.Contains(t, c.fails(2, append(words(command), "3")...), "DATABASE_URL is not set")
		})
	}
	onBoth(t, func(t *cliT) { // on a database without flows
		t.program.Configure = nil
		t.migrated()
		for _, n := range []string{"-1", "0", "10001", "1000000000"} {
			t.fails(2, "schedule", "next", "-n", n)
		}
		t.ok("schedule", "next", "-n", "10000")
	})
}

// An error of the database is exit code 5, and no message shows a password.
func TestDatabase(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := filepath.Join(folder, "text.db")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600))
	empty := filepath.Join(folder, "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, c := range map[string]struct {
		url  string
		code int
		says string
	}{
		"Unset":          {"", 2, "DATABASE_URL is not set"},
		"OtherKind":      {"mysql://root:hush-hush@localhost/shop", 2, `"mysql"`},
		"KeysAndValues":  {"host=localhost password=hush-hush dbname=shop", 2, "neither a URL nor a path"},
		"OneSlash":       {"postgres:/ann:hush-hush@localhost/shop", 2, "neither a URL nor a path"},
		"NoColon":        {"postgres//hush-hush/shop", 2, "neither a URL nor a path"},
		"NoScheme":       {"ann:hush-hush@localhost/shop", 2, "neither a URL nor a path"},
		"BadURL":         {"postgres://ann:hush-hush%zz@localhost/shop", 2, "not a valid Postgres URL"},
		"BadPort":        {"postgres://ann:hush-hush@localhost:port/shop", 2, "not a valid Postgres URL"},
		"BadSetting":     {"postgres://ann:hush-hush@localhost/shop?sslmode=perhaps", 2, "not a valid Postgres URL"},
		"NoHost":         {"postgres://ann:hush-hush@nobody.invalid/shop", 5, "see whether DATABASE_URL has the server's host"},
		"NobodyListens":  {"postgres://ann:hush-hush@127.0.0.1:1/shop", 5, "127.0.0.1:1 (127.0.0.1): dial error: dial tcp 127.0.0.1:1: connect: connection refused: see whether a server listens there, and whether DATABASE_URL has its host and port"},
		"NoFile":         {"sqlite:", 2, "names no file"},
		"InMemory":       {":memory:", 2, "names no file"},
		"SQLitesURI":     {"file:shop.db", 2, "names no file"},
		"Directory":      {folder, 5, "directory"},
		"NoFolder":       {filepath.Join(folder, "none", "shop.db"), 5, "there is no database"},
		"NotADatabase":   {text, 5, "not a database"},
		"NotThere":       {filepath.Join(folder, "new.db"), 5, "new.db: run shop migrate up to make it"},
		"Unmigrated":     {empty, 5, "empty.db: dataflow's tables are not in the database"},
		"UnmigratedURL":  {"sqlite:" + empty, 5, "run shop migrate up"},
		"UnmigratedURL3": {"sqlite://" + empty, 5, "run shop migrate up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCLI(t, c.url).run("flow", "list", "-v")
			require.Equal(t, c.code, r.code, r.err)
			require.Contains(t, r.err, c.says)
			require.NotContains(t, r.out+r.err, "hush")
		})
	}
	t.Run("UnmigratedPostgres", func(t *testing.T) {
		t.Parallel()
		require.Contains(t, newCLI(t, dbtest.PostgresURL(t)).fails(5, "status"), "shop migrate up")
	})
}

// What a fresh Postgres refuses comes with what mends it, and in one line.
func TestDatabase_Refused(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	c := newCLI(t, server.URL())
	c.exec("create role guest login")
	c.exec("revoke create on schema public from public")
	with := func(change func(u *url.URL)) *cliT {
		u, err := url.Parse(server.URL())
		require.NoError(t, err)
		change(u)
		return newCLI(t, u.String())
	}
	require.Equal(t, `shop: connect to Postgres, database "none", as user "postgres": FATAL: database "none" does not exist (SQLSTATE 3D000): create the database (createdb --owner USER NAME), or mend its name in the address`+"\n",
		with(func(u *url.URL) { u.Path = "/none" }).fails(5, "migrate", "up"))
	require.Contains(t, with(func(u *url.URL) { u.User = url.User("nobody") }).fails(5, "status"), `as user "nobody": FATAL: role "nobody" does not exist`)
	require.Contains(t, with(func(u *url.URL) { u.User = url.User("guest") }).fails(5, "migrate", "up"), "permission denied for schema public (SQLSTATE 42501): the role lacks the right: grant it. If it is about a schema: to make tables a role needs create there")
}

// Only migrate up makes a SQLite file that does not exist.
func TestDatabase_NotThere(t *testing.T) {
	t.Parallel()
	path := dbtest.SQLitePath(t)
	c := newCLI(t, path)
	var tried int
	var try func(path []string)
	try = func(at []string) {
		help := c.ok(append(at[:len(at):len(at)], "--help")...)
		if _, list, found := strings.Cut(help, "Available Commands:\n"); found {
			list, _, _ = strings.Cut(list, "\n\n")
			for _, match := range subCommand.FindAllStringSubmatch(list, -1) {
				try(append(at[:len(at):len(at)], match[1]))
			}
			return
		}
		_, examples, _ := strings.Cut(help, "Examples:\n")
		line, _, _ := strings.Cut(examples, "\n")
		command, _, _ := strings.Cut(strings.TrimPrefix(line, "  shop "), " >")
		switch name := strings.Join(at, " "); {
		case name == "migrate up", name == "init", name == "help", strings.HasPrefix(name, "new "), strings.HasPrefix(name, "completion "):
			return
		}
		tried++
		require.Contains(t, c.fails(5, words(command)...), "there is no database "+path+": run shop migrate up to make it", command)
	}
	try(nil)
	require.Greater(t, tried, 25)
	c.ok("__complete", "flow", "why", "")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, left)
	c.ok("migrate", "up")
	c.ok("status")
}

func TestDatabase_Newer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		t.exec(`insert into dataflow_migration (version, name) values (4711, 'from_the_future')`)
		for _, command := range []string{"status", "enqueue orders", "migrate up", "doctor", "run-due"} {
			require.Contains(t, t.fails(5, words(command)...), "newer than the", command)
		}
		require.Contains(t, t.fails(4, "migrate", "down", "--to", "0", "--yes"), "use a newer program")
	})
}

// exec runs a statement on the database.
func (t *cliT) exec(statement string) {
	t.Helper()
	if !strings.HasPrefix(t.url, "postgres") {
		_, err := dbtest.OpenSQLite(t, t.url).ExecContext(t.Context(), statement)
		require.NoError(t, err)
		return
	}
	conn, err := pgx.Connect(t.Context(), t.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) }()
	_, err = conn.Exec(t.Context(), statement)
	require.NoError(t, err)
}

// The server refuses the password, and even repeats it in its error.
func TestDatabase_WrongPassword(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]string{"Plain": "hush-hush", "Special": "hush%2Fhush%40%C3%A4 +", "InQuery": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := refusing(t)
			url := fmt.Sprintf("postgres://ann:%s@%s/shop?sslmode=disable", strings.ReplaceAll(password, " ", "%20"), address)
			if password == "" {
				url = fmt.Sprintf("postgres://ann@%s/shop?sslmode=disable&password=hush-hush", address)
			}
			c := newCLI(t, url)
			for _, args := range [][]string{{"status"}, {"doctor", "-v"}, {"migrate", "up"}, {"enqueue", "orders", "-o", "json"}} {
				r := c.run(args...)
				require.Equal(t, 5, r.code, r.err)
				require.Contains(t, r.err, "password authentication failed for ***")
				require.NotContains(t, r.out+r.err, "hush")
			}
		})
	}
	t.Run("InEnvironment", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, fmt.Sprintf("postgres://ann:hush-hush@%s/shop?sslmode=disable", refusing(t)))
		c.env["PGPASSWORD"] = "authentication"
		require.Contains(t, c.fails(5, "status"), "password *** failed for ***")
	})
}

// refusing starts a server that refuses every password.
func refusing(t *testing.T) (address string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = refuse(conn)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func refuse(conn net.Conn) error {
	backend := pgproto3.NewBackend(conn, conn)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return err
	}
	backend.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := errors.Join(backend.Flush(), backend.SetAuthType(pgproto3.AuthTypeCleartextPassword)); err != nil {
		return err
	}
	message, err := backend.Receive()
	if err != nil {
		return err
	}
	said, ok := message.(*pgproto3.PasswordMessage)
	if !ok {
		return errors.New("it sends no password")
	}
	backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "password authentication failed for " + said.Password})
	return backend.Flush()
}

// A destructive command asks first, and refuses if there is nobody to ask.
func TestConfirm(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated()
		down := []string{"migrate", "down", "--to", "0"}
		require.Contains(t, t.fails(2, down...), "There is no terminal to ask on: use --yes")
		t.ask = true
		for typed, code := range map[string]int{"n\n": 4, "\n": 4, "certainly\n": 4, "": 2} {
			t.in = typed
			require.Contains(t, t.fails(code, down...), "removes all flows, runs, cursors and counters, for good. Go on? [y/N]")
		}
		require.Contains(t, t.ok("flow", "list"), "orders")
		t.in = "y\n"
		t.ok(down...)
		require.Contains(t, t.fails(5, "flow", "list"), "migrate up")
	})
	t.Run("Interrupted", func(t *testing.T) {
		c := newCLI(t, dbtest.SQLitePath(t)).migrated()
		c.ask = true
		r, w, err := os.Pipe() // nobody types
		require.NoError(t, err)
		defer func() { _, _ = r.Close(), w.Close() }()
		ctx, cancel := context.WithCancel(t.Context())
		code := cli.Run(ctx, []string{"migrate", "down", "--to", "0"}, c.program, cli.Streams{
			In: r, Out: &strings.Builder{}, Err: whenAsked(cancel), Ask: true, Env: func(name string) string { return c.env[name] }, Now: time.Now,
		})
		require.Equal(t, 1, code)
		require.Contains(t, c.ok("flow", "list"), "orders")
	})
}

// whenAsked is a writer that interrupts the command that writes to it.
type whenAsked context.CancelFunc

func (w whenAsked) Write(b []byte) (int, error) { w(); return len(b), nil }
