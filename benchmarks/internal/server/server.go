// Package server starts the PostgreSQL server that the benchmarks measure on.
package server

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
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// URLEnv names a server to measure on instead of the program's own.
const URLEnv = "DATAFLOW_BENCH_DATABASE_URL"

// serverOptions are what a small production server has. Durability is whole:
// fsync, synchronous_commit and full_page_writes are on by default.
const serverOptions = "-c listen_addresses= -c shared_buffers=512MB -c max_wal_size=4GB -c checkpoint_timeout=30min -c jit=off -c max_connections=50 -c timezone=UTC"

// Server is a Postgres server of this program's own, or the one that URLEnv names.
type Server struct {
	// URL is that of its database "postgres".
	URL string

	bin, dir string
	options  string // besides serverOptions
	owner    *syscall.Credential
}

// Open returns a server to measure on. Options are added to those that it is started with.
func Open(ctx context.Context, options string) (*Server, error) {
	if given := os.Getenv(URLEnv); given != "" {
		return &Server{URL: given}, nil
	}
	s := &Server{options: options}
	if err := s.find(); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {s.dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	s.URL = u.String()
	return s, nil
}

func (s *Server) find() error {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		s.bin = filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	slices.Sort(found)
	if len(found) > 0 {
		s.bin = filepath.Dir(found[len(found)-1])
	}
	if s.bin == "" {
		return fmt.Errorf("no PostgreSQL server to measure on: install one, or name one in %s", URLEnv)
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

func (s *Server) start(ctx context.Context) (err error) {
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
	return s.run(ctx, "pg_ctl", "start", "--wait", "--silent", "--pgdata="+data, "--log="+filepath.Join(s.dir, "log"), "--options=-k "+s.dir+" "+serverOptions+" "+s.options)
}

// Close stops the server and removes its data.
func (s *Server) Close(ctx context.Context) error {
	if s.dir == "" {
		return nil
	}
	err := s.run(context.WithoutCancel(ctx), "pg_ctl", "stop", "--wait", "--silent", "--mode=immediate", "--pgdata="+filepath.Join(s.dir, "data"))
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PG") }), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Setpgid: true}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// CPU returns how much CPU time the server's processes have used so far. It returns 0 if the
// server is not this program's own, or the system has no /proc.
func (s *Server) CPU() time.Duration {
	if s.dir == "" {
		return 0
	}
	data, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), "\n")
	children, _ := os.ReadFile("/proc/" + first + "/task/" + first + "/children")
	used := ticks(first, true)
	for _, child := range strings.Fields(string(children)) {
		used += ticks(child, false)
	}
	return time.Duration(used) * time.Second / 100
}

// ticks returns the CPU time of a process, in hundredths of a second, and that of its ended
// children too if ended is set.
func ticks(pid string, ended bool) (sum int64) {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	if len(fields) < 15 {
		return 0
	}
	use := fields[11:13]
	if ended {
		use = fields[11:15]
	}
	for _, text := range use {
		n, _ := strconv.ParseInt(text, 10, 64)
		sum += n
	}
	return sum
}

// Machine describes the machine that was measured on.
func Machine(ctx context.Context, pool *pgxpool.Pool) string {
	var version string
	if err := pool.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
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
