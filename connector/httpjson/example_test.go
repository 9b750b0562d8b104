package httpjson_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

func ExampleSource() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer 42" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if req.URL.Query().Get("cursor") == "" {
			_, _ = fmt.Fprint(w, `{"data": [{"id": 1, "cents": 250}, {"id": 2, "cents": "?"}], "meta": {"next": "abc"}}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"data": [{"id": 3, "cents": 99}], "meta": {"next": null}}`)
	}))
	defer server.Close()

	type Order struct {
		ID    int64 `json:"id"`
		Cents int64 `json:"cents"`
	}
	src := httpjson.Source[Order](server.URL, &httpjson.Options{
		Records: "data",
		Key:     "id",
		Paging:  httpjson.BodyCursor{Path: "meta.next"},
		Auth: func(req *http.Request) error {
			req.Header.Set("Authorization", "Bearer 42")
			return nil
		},
	})
	for item, err := range src.Read(context.Background(), dataflow.Request[httpjson.Cursor]{}) {
		if err != nil {
			fmt.Println(item.Cursor, "is bad:", err)
			continue
		}
		fmt.Println(item.Cursor, "has", item.Value)
	}
	// Output:
	// page first record 1 has {1 250}
	// page first record 2 is bad:  record 2: json: cannot unmarshal string into Go struct field Order.cents of type int64
	// page abc record 1 has {3 99}
}

func ExampleSink() {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		check(err)
		fmt.Println(req.Method, len(req.Header.Get("Idempotency-Key")), string(body))
	}))
	defer server.Close()

	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1)
	flow := dataflow.NewFlow("names", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](),
		httpjson.Sink[string](server.URL, &httpjson.SinkOptions{Field: "names"}), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	ctx := context.Background()
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, "names", nil)
	check(err)
	fmt.Println(run.State, run.Counters.Written)
	// Output:
	// POST 32 {"names":["ada","grace"]}
	// success 2
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
