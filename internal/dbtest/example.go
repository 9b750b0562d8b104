package dbtest

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ExamplePostgres returns a pool on a fresh database for an example, which has no testing.TB,
// and a function that drops it. It panics where Postgres fails the test.
func ExamplePostgres(statements ...string) (pool *pgxpool.Pool, end func()) {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	admin, err := adminURL(ctx)
	must(err)
	name := databaseName()
	must(create(ctx, admin, name, empty))
	pool, err = pgxpool.New(ctx, databaseURL(admin, name))
	must(err)
	for _, statement := range statements {
		_, err := pool.Exec(ctx, statement)
		must(err)
	}
	return pool, func() {
		pool.Close()
		must(drop(ctx, admin, name))
	}
}
