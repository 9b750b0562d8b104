package httpjson_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowtest"
)

type doc struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

// A bulk request has two lines for each row. Its answer refuses some of them with the status 200: those that are bad go
// to the policy, and a full queue means that all are sent again.
func TestSink_Bulk(t *testing.T) {
	t.Parallel()
	have, requests := map[string]string{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Content-Type") != "application/x-ndjson" {
			refuse(w, http.StatusNotAcceptable, "")
			return
		}
		requests++
		items := []any{}
		bad := false
		for lines := bufio.NewScanner(req.Body); lines.Scan(); {
			var action struct {
				Index struct {
					ID string `json:"_id"`
				} `json:"index"`
			}
			_ = json.Unmarshal(lines.Bytes(), &action)
			lines.Scan()
			result := map[string]any{"_id": action.Index.ID, "status": 201}
			switch {
			case requests == 1 && len(items) == 2:
				result["status"], result["error"] = 429, map[string]any{"type": "es_rejected_execution_exception"}
			case strings.Contains(lines.Text(), `"cents":-1`):
				result["status"], result["error"] = 400, map[string]any{"type": "document_parsing_exception"}
			default:
				have[action.Index.ID] = lines.Text()
			}
			bad = bad || result["error"] != nil
			items = append(items, map[string]any{"index": result})
		}
		write(w, map[string]any{"errors": bad, "items": items})
	}))
	t.Cleanup(server.Close)
	docs := []doc{{`a"b`, 1}, {"b", -1}, {"c", 3}, {"d", -1}, {"e", 5}}
	address, opts := recipeBulk(server.URL)
	kit := dataflowtest.New(t, dataflow.NewFlow("docs", memory.Slice(docs), dataflow.Identity[doc](), httpjson.Sink[doc](address, opts),
		&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(5)}))
	kit.Work("docs")
	run := kit.RequireRun("docs", dataflow.RunSuccess)
	require.Equal(t, int64(3), run.Counters.Written)
	require.Equal(t, map[string]string{`a"b`: `{"id":"a\"b","cents":1}`, "c": `{"id":"c","cents":3}`, "e": `{"id":"e","cents":5}`}, have)
	letters, err := kit.Client().DeadLetters(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, letters, 2)
	require.Contains(t, letters[0].Error, "document_parsing_exception")
}

// A request may have one row alone, as a webhook takes it.
func TestSink_Webhook(t *testing.T) {
	t.Parallel()
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		bodies = append(bodies, string(body))
		if strings.HasPrefix(string(body), "[") {
			refuse(w, http.StatusBadRequest, "invalid_payload")
			return
		}
		_, _ = fmt.Fprint(w, "ok")
	}))
	t.Cleanup(server.Close)
	address, opts := recipeWebhook(server.URL)
	kit := dataflowtest.New(t, dataflow.NewFlow("docs", memory.Slice([]doc{{"a", 1}, {"b", 2}}), dataflow.Identity[doc](), httpjson.Sink[doc](address, opts), nil))
	kit.Work("docs")
	require.Equal(t, int64(2), kit.RequireRun("docs", dataflow.RunSuccess).Counters.Written)
	require.Equal(t, []string{`{"id":"a","cents":1}`, `{"id":"b","cents":2}`}, bodies)
}
