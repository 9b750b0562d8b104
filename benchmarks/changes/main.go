// Command changes compares a stream of package pgchange with Postgres' own logical subscription
// to the same publication, on one server: how fast each applies what pgbench has done while it was
// stopped, and how much each lags while pgbench goes on at a steady rate. It also compares the
// stream's first load with a plain keyset flow.
//
//	go run ./changes -scale 10 -transactions 100000 -pairs 3 -rate 2000 -seconds 30
//
// It needs pgbench, which comes with PostgreSQL's server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow/benchmarks/internal/server"
)

type settings struct {
	scale, transactions, pairs, rate int
	lasts                            time.Duration
	apart                            bool
	profile                          string
}

func main() {
	var o settings
	flag.IntVar(&o.scale, "scale", 10, "pgbench's scale: 100,000 rows each")
	flag.IntVar(&o.transactions, "transactions", 100_000, "pgbench's transactions to catch up with, each with one change of the table")
	flag.IntVar(&o.pairs, "pairs", 3, "how often to compare")
	flag.IntVar(&o.rate, "rate", 2000, "pgbench's transactions a second while the lag is measured")
	seconds := flag.Int("seconds", 30, "how long the lag is measured")
	flag.BoolVar(&o.apart, "apart", false, "put the copies on a server of their own, of which the source's slots decode nothing")
	flag.StringVar(&o.profile, "profile", "", "a file for a CPU profile of this process during the first load; nothing else is measured then")
	flag.Parse()
	o.lasts = time.Duration(*seconds) * time.Second
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *settings) (err error) {
	s, err := server.Open(ctx, "-c wal_level=logical")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	b := &bench{settings: o, server: s, copies: s}
	where := "on the source's server"
	if o.apart {
		where = "on a server of their own"
		if b.copies, err = server.Open(ctx, ""); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.copies.Close(ctx)) }()
	}
	defer b.close()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Printf("pgbench scale %d, the copies %s; %s\n\n", o.scale, where, server.Machine(ctx, b.source))
	steps := []func(context.Context) error{b.load, b.catchUp, b.lag, b.compare}
	if o.profile != "" {
		steps = steps[:1]
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bench has a database for the source, one for our copy, and one for Postgres' own.
type bench struct {
	*settings
	server, copies       *server.Server // of the source, and of the copies
	source, ours, native *pgxpool.Pool
}

func (b *bench) close() {
	for _, pool := range []*pgxpool.Pool{b.source, b.ours, b.native} {
		if pool != nil {
			pool.Close()
		}
	}
}

func (b *bench) prepare(ctx context.Context) (err error) {
	if b.source, err = create(ctx, b.server, "source"); err != nil {
		return err
	}
	if b.ours, err = create(ctx, b.copies, "ours"); err != nil {
		return err
	}
	if b.native, err = create(ctx, b.copies, "native"); err != nil {
		return err
	}
	if err := b.pgbench(ctx, "--initialize", "--quiet", "--scale="+strconv.Itoa(b.scale)); err != nil {
		return err
	}
	if _, err := b.source.Exec(ctx, "create publication p for table pgbench_accounts"); err != nil {
		return err
	}
	const table = "create table pgbench_accounts (aid integer primary key, bid integer, abalance integer, filler char(84)) with (fillfactor = 100)"
	for _, pool := range []*pgxpool.Pool{b.ours, b.native} {
		if _, err := pool.Exec(ctx, table); err != nil {
			return err
		}
	}
	_, err = b.ours.Exec(ctx, "create table plain (like pgbench_accounts including all)")
	return err
}

// create makes a database, and returns its pool.
func create(ctx context.Context, on *server.Server, name string) (*pgxpool.Pool, error) {
	admin, err := pgxpool.New(ctx, on.URL)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if _, err := admin.Exec(ctx, "create database "+name); err != nil {
		return nil, err
	}
	return pgxpool.New(ctx, urlOf(on, name))
}

// urlOf returns the URL of a database.
func urlOf(on *server.Server, name string) string {
	u, err := url.Parse(on.URL)
	if err != nil {
		return ""
	}
	u.Path = "/" + name
	return u.String()
}

// pgbench runs pgbench on the source.
func (b *bench) pgbench(ctx context.Context, args ...string) error {
	program, err := exec.LookPath("pgbench")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
		if len(found) == 0 {
			return errors.New("no pgbench found: it comes with PostgreSQL's server")
		}
		slices.Sort(found)
		program = found[len(found)-1]
	}
	out, err := exec.CommandContext(ctx, program, append(args, urlOf(b.server, "source"))...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return nil
}

// mark changes a row of the source, and returns what it holds then.
func (b *bench) mark(ctx context.Context) (text string, err error) {
	err = b.source.QueryRow(ctx, "update pgbench_accounts set filler = clock_timestamp()::text where aid = 1 returning trim(filler)").Scan(&text)
	return text, err
}

// reached waits until a copy has what mark returned.
func reached(ctx context.Context, pool *pgxpool.Pool, mark string) error {
	for {
		var has bool
		if err := pool.QueryRow(ctx, "select trim(filler) = $1 from pgbench_accounts where aid = 1", mark).Scan(&has); err != nil || has {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// compare compares the source and both copies.
func (b *bench) compare(ctx context.Context) error {
	const all = "select count(*) || ' ' || sum(hashtextextended(a::text, 0)) from pgbench_accounts a"
	var texts []string
	for _, pool := range []*pgxpool.Pool{b.source, b.ours, b.native} {
		var text string
		if err := pool.QueryRow(ctx, all).Scan(&text); err != nil {
			return err
		}
		texts = append(texts, text)
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		return fmt.Errorf("source, our copy and Postgres' own differ: %q", texts)
	}
	fmt.Println("source, our copy and Postgres' own are equal")
	return nil
}
