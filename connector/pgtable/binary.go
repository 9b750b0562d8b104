package pgtable

import (
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// inBinary adds the mode of executing a query to its arguments, so that the rows come in the
// binary format. In pgx's modes exec and simple_protocol they come as text, and text depends
// on the session: with extra_float_digits = 0, Postgres sends 0.1 + 0.2 as 0.3 (pgx 5.12,
// Postgres 13 to 18). Mode cache_describe makes no prepared statement, so that it works through
// a pooler too. A pool with DescriptionCacheCapacity 0 does not have that mode.
func inBinary(pool *pgxpool.Pool, args []any) []any {
	c := pool.Config().ConnConfig
	asText := c.DefaultQueryExecMode == pgx.QueryExecModeExec || c.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol
	if asText && c.DescriptionCacheCapacity > 0 {
		return slices.Insert(slices.Clone(args), 0, any(pgx.QueryExecModeCacheDescribe))
	}
	return args
}
