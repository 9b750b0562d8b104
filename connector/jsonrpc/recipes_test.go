package jsonrpc_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonrpc"
)

// Each Go block of docs/connectors/jsonrpc.md is in this file, so that it compiles, and a test
// runs it.

type Bird struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

func birds(address string) dataflow.Source[Bird, jsonrpc.Cursor] {
	return jsonrpc.Source[Bird](address, "birds.list", &jsonrpc.Options{
		Params:  map[string]any{"region": "north"},
		Records: "birds", Next: "next", // the paths in a result
		Key:  "id",
		Auth: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN")); return nil },
	})
}

func TestRecipes(t *testing.T) {
	t.Setenv("TOKEN", "secret")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		result := `{"birds": [{"id": 1, "name": "swan"}], "next": 2}`
		switch text := string(body); {
		case err != nil, r.Header.Get("Authorization") != "Bearer secret", !strings.Contains(text, `"region":"north"`):
			w.WriteHeader(http.StatusBadRequest)
			return
		case strings.Contains(text, `"cursor":2`):
			result = `{"birds": [{"id": 2, "name": "gull"}], "next": null}`
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": "1", "result": %s}`, result)
	}))
	defer server.Close()
	var got []string
	for item, err := range birds(server.URL).Read(t.Context(), dataflow.Request[jsonrpc.Cursor]{}) {
		require.NoError(t, err)
		if !item.Mark {
			got = append(got, item.Key+" "+item.Value.Name)
		}
	}
	require.Equal(t, []string{"1 swan", "2 gull"}, got)
}
