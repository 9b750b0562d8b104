package dataflowhttp_test

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
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A POST works the due runs. The client need not be started.
func ExampleHeartbeat() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1) // SQLite has one writer at a time

	orders := dataflow.NewFlow("orders", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), memory.NewSink[int]().Target(), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{orders}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	_, err = client.Trigger(ctx, "orders", &dataflow.TriggerOptions{At: time.Now().Add(-time.Second)})
	check(err)

	beat, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{
		Tokens:     []string{"a-secret-of-16-or-more-characters"}, // in a service: os.Getenv
		AllowedIPs: []string{"127.0.0.1", "::1"},
	})
	check(err)
	server := httptest.NewServer(beat)
	defer server.Close()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"?wait=30s", http.NoBody)
	check(err)
	req.Header.Set("X-Heartbeat-Token", "a-secret-of-16-or-more-characters")
	res, err := http.DefaultClient.Do(req)
	check(err)
	body, err := io.ReadAll(res.Body)
	check(err)
	check(res.Body.Close())
	fmt.Print(res.StatusCode, " ", string(body))
	check(client.Stop(ctx))
	// Output:
	// 200 {"fired":0,"skipped":0,"rescued":0,"due":1,"runs":[{"id":1,"flow":"orders","trigger":"manual","state":"success","counters":{"read":3,"written":3,"redundant":0,"filtered":0,"dropped":0,"dead_lettered":0}}]}
}

// The API is read-only unless the service says who may do what.
func ExampleAPI() {
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	client, err := dataflow.NewClient(dataflowsqlite.New(db), nil)
	check(err)
	api, err := dataflowhttp.API(client, &dataflowhttp.APIOptions{
		Authorize: func(r *http.Request, action dataflowhttp.Action, _ string) (string, error) {
			user, _, _ := r.BasicAuth() // checked by the service's own middleware
			if action != dataflowhttp.ActionRead && user != "ann" {
				return "", errors.New("only ann may do that")
			}
			return user, nil
		},
	})
	check(err)
	mux := http.NewServeMux()
	mux.Handle("/ops/", http.StripPrefix("/ops", api))
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/ops/flows/orders/pause", nil)
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 403 {"type":"about:blank","title":"Forbidden","status":403,"code":"forbidden","detail":"only ann may do that"}
}
