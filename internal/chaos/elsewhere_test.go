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

// The second database has a target without a unique key, and the connector's own checkpoint
// table.
const elsewhereSQL = `create table chaos_target (flow text not null, n bigint not null);` + copySQL + pgtable.CheckpointTable

// sinkCursor returns the cursor of a flow in the second database.
func (s *stage) sinkCursor(flow string) int64 {
	s.Helper()
	return s.numberIn(s.elsewhere, fmt.Sprintf(`select coalesce((select (state::json ->> 'cursor')::bigint from dataflow_sink_checkpoint where flow = '%s'), 0)`, flow))
}

// betweenCommits is the pause between the commit in the second database and ours. It makes
// random kills hit this gap often.
const betweenCommits = 10 * time.Millisecond

// sinkTracer makes points of the connector's own statements in the second database:
//
//	sink/before  sink/uncommitted  sink/committed
//	sinkclaim/before  sinkclaim/committed
type sinkTracer struct{ orders *orders }

// sinkPoint is the context key of the point after a statement.
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
