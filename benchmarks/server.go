package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// urlEnv names a server to measure on instead of the program's own.
const urlEnv = "DATAFLOW_BENCH_DATABASE_URL"

// serverOptions are what a small production server has. Durability is whole:
// fsync, synchronous_commit and full_page_writes are on by default.
const serverOptions = "-c listen_addresses= -c shared_buffers=512MB -c max_wal_size=4GB -c checkpoint_timeout=30min -c jit=off -c max_connections=50 -c timezone=UTC"

// server is a Postgres server of this program's own.
type server struct {
	bin, dir string
	owner    *syscall.Credential
}

// openServer returns the URL of a server, and a function that stops it.
func openServer(ctx context.Context) (string, func() error, error) {
	if given := os.Getenv(urlEnv); given != "" {
		return given, func() error { return nil }, nil
	}
	s := &server{}
	if err := s.find(); err != nil {
		return "", nil, err
	}
	if err := s.start(ctx); err != nil {
		return "", nil, errors.Join(err, s.stop(ctx))
	}
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {s.dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	return u.String(), func() error { return s.stop(ctx) }, nil
}

func (s *server) find() error {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		s.bin = filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	slices.Sort(found)
	if len(found) > 0 {
		s.bin = filepath.Dir(found[len(found)-1])
	}
	if s.bin == "" {
		return fmt.Errorf("no PostgreSQL server to measure on: install one, or name one in %s", urlEnv)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres") // the server refuses to run as root
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}

func (s *server) start(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "dataflow-bench-"); err != nil {
		return err
	}
	if s.owner != nil {
		if err := os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(s.dir, "data")
	if err := s.run(ctx, "initdb", "--pgdata="+data, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"); err != nil {
		return err
	}
	return s.run(ctx, "pg_ctl", "start", "--wait", "--silent", "--pgdata="+data, "--log="+filepath.Join(s.dir, "log"), "--options=-k "+s.dir+" "+serverOptions)
}

func (s *server) stop(ctx context.Context) error {
	if s.dir == "" {
		return nil
	}
	err := s.run(context.WithoutCancel(ctx), "pg_ctl", "stop", "--wait", "--silent", "--mode=immediate", "--pgdata="+filepath.Join(s.dir, "data"))
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *server) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PG") }), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Setpgid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// machine describes the machine that was measured on.
func (w *work) machine(ctx context.Context) string {
	var version string
	if err := w.pool.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		version = err.Error()
	}
	cpu := "unknown CPU"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(data), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(after, "\n")
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d × %s, %s, PostgreSQL %s, load average %s", runtime.NumCPU(), cpu, runtime.Version(), version, strings.TrimSpace(string(load)))
}
