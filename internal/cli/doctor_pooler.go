package cli

import (
	"context"

	"github.com/activedataflow/dataflow/internal/pooler"
)

// pooler finds out whether a pooler in transaction mode is between this program and Postgres.
// Such a pooler sends each transaction to any free server process. A direct connection, and a
// pooler in session mode, keep one process for each client.
func (s *session) pooler(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	found, err := pooler.Find(ctx, s.db.Postgres)
	switch {
	case err != nil: // such as a server without a second free connection
		return warning("pooler", "the check for a pooler failed: %v", err)
	case !found.Transaction:
		return ok("pooler", "each connection keeps its session")
	}
	if err := found.Refuse(s.db.Postgres.Config().ConnConfig.DefaultQueryExecMode); err != nil {
		return problem("pooler", "%v", err)
	}
	keeps := "keeps no prepared statements: clients need default_query_exec_mode=cache_describe, exec or simple_protocol in their connection string"
	switch {
	case found.Unsure:
		keeps = "was too busy to find out whether it keeps prepared statements: ask again"
	case found.Prepared:
		keeps = "keeps prepared statements: all values of default_query_exec_mode work but describe_exec"
	}
	return warning("pooler", "a pooler in transaction mode, such as PgBouncer, is between this program and Postgres. It loses LISTEN: "+
		"River polls there, so let started clients connect directly or in session mode where a run must start within milliseconds. It %s", keeps)
}
