package jsonrpc_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonrpc"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleSource() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		check(err)
		result := `{"birds": ["sparrow", "swan"], "next": 2}`
		if strings.Contains(string(body), `"cursor":2`) {
			result = `{"birds": ["gull"], "next": null}`
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": "1", "result": %s}`, result)
	}))
	defer server.Close()

	src := jsonrpc.Source[string](server.URL, "birds.list", &jsonrpc.Options{Records: "birds", Next: "next"})
	for item, err := range src.Read(context.Background(), dataflow.Request[jsonrpc.Cursor]{}) {
		check(err)
		if !item.Mark {
			fmt.Println(item.Cursor, item.Value)
		}
	}
	// Output:
	// first call record 1 sparrow
	// first call record 2 swan
	// call 2 record 1 gull
}

// A row that the server refuses is an error with the row's key.
func ExampleSink() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"jsonrpc": "2.0", "id": null, "error": {"code": 7, "message": "no bird", "data": {"index": 1}}}`)
	}))
	defer server.Close()
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1)

	flow := dataflow.NewFlow("birds", memory.Slice([]string{"swan", "cat"}), dataflow.Identity[string](),
		jsonrpc.Sink[string](server.URL, nil), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	ctx := context.Background()
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	_, err = client.Trigger(ctx, "birds", nil)
	var bad *dataflow.RecordError
	if errors.As(err, &bad) {
		fmt.Println(bad.Key, string(bad.Raw), bad.Err)
	}
	// Output: row 2 "cat" error 7: no bird
}
