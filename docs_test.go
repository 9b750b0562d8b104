package dataflow_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowhttp"
)

// The blocks of Go in docs stand here, so that they compile.

func docsRuntimes() []dataflow.Runtime {
	every := dataflow.JobQueue{Interval: 5 * time.Minute}
	daily := dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "30 6 * * mon-fri", TimeZone: "Europe/Berlin"}}
	return []dataflow.Runtime{every, daily}
}

func docsSkipped(ctx context.Context, client *dataflow.Client) ([]*dataflow.SkippedTicks, error) {
	skipped, err := client.SkippedTicks(ctx, &dataflow.TickListParams{Flow: "orders"})
	return skipped, err
}

func docsWhy(ctx context.Context, client *dataflow.Client) error {
	why, err := client.Why(ctx, "orders")
	fmt.Println(why)
	return err
}

func docsHeartbeat(client *dataflow.Client, mux *http.ServeMux) error {
	heartbeat, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{
		Tokens: []string{os.Getenv("HEARTBEAT_TOKEN")},
	})
	if err != nil {
		return err
	}
	mux.Handle("/heartbeat", heartbeat)
	return nil
}

// What docs show can be called.
func TestDocs_Snippets(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, rt := range docsRuntimes() {
			flow := dataflow.NewFlow("orders", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: rt})
			client := t.registered(flow)
			skipped, err := docsSkipped(t.Context(), client)
			require.NoError(t, err)
			require.Empty(t, skipped)
			require.NoError(t, docsWhy(t.Context(), client))
			require.ErrorContains(t, docsHeartbeat(client, http.NewServeMux()), "Tokens")
		}
	})
}

func TestDocs_BlocksAreCode(t *testing.T) {
	t.Parallel()
	code := flattened(t, "docs_test.go")
	docs, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, []string{"go", "text", "sh"}, block[1], doc)
			if block[1] == "go" {
				require.Contains(t, code, flatten(block[2]), "this block of %s is not in the code:\n%s", doc, block[2])
			}
		}
	}
}
