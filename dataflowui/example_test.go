package dataflowui_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowui"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func mount(mux *http.ServeMux, client *dataflow.Client, authorize func(*http.Request, dataflowhttp.Action, string) (string, error)) error {
	ui, err := dataflowui.New(client, &dataflowui.Options{Authorize: authorize})
	if err != nil {
		return err
	}
	mux.Handle("/dataflow/", http.StripPrefix("/dataflow", ui))
	return nil
}

func TestManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/dashboard.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(manual), "```go\n")
	require.True(t, found)
	block, rest, _ := strings.Cut(rest, "```")
	require.NotContains(t, rest, "```go", "one block is tested")
	code, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	require.Contains(t, string(code), "\t"+strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n\t")+"\n")

	client, err := dataflow.NewClient(dataflowsqlite.New(dbtest.SQLite(t)), nil)
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	mux := http.NewServeMux()
	require.NoError(t, mount(mux, client, allow))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/dataflow/", http.NoBody))
	require.Equal(t, http.StatusOK, w.Code, fmt.Sprint(w.Body))
	require.Contains(t, w.Body.String(), "No flow is stored yet")
}
