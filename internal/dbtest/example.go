package dbtest

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ExamplePostgres is [Postgres] for an example, which has no testing.TB. It runs the
// statements on the fresh database, and returns a pool and a function that drops the
// database. It panics on an error.
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
