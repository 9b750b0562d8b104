package pgtable

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Plain makes the targets of this package use neither COPY nor temporary tables on the
// connections of a pool. It is for servers and proxies that lack them, such as PGlite behind
// its socket server. Large batches take longer. Call it before [pgxpool.NewWithConfig]:
//
//	config, err := pgxpool.ParseConfig(url)
//	…
//	pgtable.Plain(config)
//	pool, err := pgxpool.NewWithConfig(ctx, config)
//
// Targets find out by themselves that a role may not create temporary tables, and that a proxy
// is in between: then they use no temporary tables. They cannot find out that COPY breaks the
// connection. An AfterConnect that the config has is still called.
func Plain(config *pgxpool.Config) {
	after := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.PgConn().CustomData()[plainMark] = true
		if after == nil {
			return nil
		}
		return after(ctx, conn)
	}
}

const plainMark = "dataflow_plain"

// isPlain reports whether a connection is of a pool that [Plain] has set up.
func isPlain(conn *pgx.Conn) bool {
	plain, _ := conn.PgConn().CustomData()[plainMark].(bool)
	return plain
}
