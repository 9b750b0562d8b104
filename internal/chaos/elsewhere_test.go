//go:build unix && chaos

package chaos_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow/connector/pgtable"
)

// The second database has a target that takes whatever it is given, and the connector's own
// table beside it.
const elsewhereSQL = `create table chaos_target (flow text not null, n bigint not null);` + pgtable.CheckpointTable

// sinkCursor is the cursor that the second database has of a flow.
func (s *stage) sinkCursor(flow string) int64 {
	s.Helper()
	return s.numberIn(s.elsewhere, fmt.Sprintf(`select coalesce((select (state::json ->> 'cursor')::bigint from dataflow_sink_checkpoint where flow = '%s'), 0)`, flow))
}

// betweenCommits is how long the commit in the second database is known before ours begins, so
// that who is killed at random is often killed there.
const betweenCommits = 10 * time.Millisecond

// sinkTracer makes points of what the connector's own statements do in the second database:
//
//	sink/before  sink/uncommitted  sink/committed
//	sinkclaim/before  sinkclaim/committed
type sinkTracer struct{ orders *orders }

// sinkPoint is the context's key of the point behind a statement.
type sinkPoint struct{}

func (t sinkTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	switch sql := strings.TrimSpace(data.SQL); {
	case strings.HasPrefix(sql, "update dataflow_sink_checkpoint"):
		t.orders.reach("sink/before")
	case sql == "commit":
		t.orders.reach("sink/uncommitted")
		return context.WithValue(ctx, sinkPoint{}, "sink/committed")
	case strings.HasPrefix(sql, "insert into dataflow_sink_checkpoint"):
		t.orders.reach("sinkclaim/before")
		return context.WithValue(ctx, sinkPoint{}, "sinkclaim/committed")
	}
	return ctx
}

func (t sinkTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	point, ok := ctx.Value(sinkPoint{}).(string)
	if !ok || data.Err != nil {
		return
	}
	t.orders.reach(point)
	pause(ctx, betweenCommits)
}
