package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Template is a Postgres database that is filled once, and copied for each test that asks for
// one: a copy takes a fraction of the time that migrations take. It is a package variable of
// the tests, and is dropped by [Main].
type Template struct {
	// Fill is called with a pool on the empty database, when the first test asks for a copy.
	Fill func(ctx context.Context, pool *pgxpool.Pool) error

	once sync.Once // guards the fields below
	name string
	err  error
}

// Postgres is [Postgres], on a copy of the template.
func (p *Template) Postgres(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	admin, err := adminURL(tb.Context())
	if err != nil {
		tb.Fatal("dbtest:", err)
	}
	p.once.Do(func() { p.name, p.err = p.make(context.WithoutCancel(tb.Context()), admin) })
	if p.err != nil {
		tb.Fatal("dbtest: make a template:", p.err)
	}
	return openPool(tb, databaseOf(tb, p.name))
}

// make fills a database, which no connection may use when it is copied.
func (p *Template) make(ctx context.Context, admin *url.URL) (string, error) {
	name := databaseName()
	if err := create(ctx, admin, name, empty); err != nil {
		return "", err
	}
	templates.add(func() error { return drop(ctx, admin, name) })
	pool, err := pgxpool.New(ctx, databaseURL(admin, name))
	if err != nil {
		return "", err
	}
	defer pool.Close()
	if err := p.Fill(ctx, pool); err != nil {
		return "", fmt.Errorf("fill it: %w", err)
	}
	return name, nil
}

// templates are dropped by Main.
var templates made

type made struct {
	mu    sync.Mutex // guards drops
	drops []func() error
}

func (m *made) add(drop func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops = append(m.drops, drop)
}

func (m *made) drop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, drop := range m.drops {
		errs = append(errs, drop())
	}
	return errors.Join(errs...)
}
