// Httpapi reads a paged API, with a token and at most so many requests a second, into a table of
// Postgres. The API is in this program, so that the example runs as it is. See README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Customer is a record of the API, and a row of the table.
type Customer struct {
	ID        int64     `json:"id" db:"id"`
	Name      string    `json:"name" db:"name"`
	UpdatedAt time.Time `json:"updated_at" db:"updated_at"`
}

func main() {
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		log.Fatal("set DATABASE_URL, such as postgres://user:password@localhost:5432/name")
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	check(err)
	defer pool.Close()
	_, err = pool.Exec(ctx, `create table if not exists customers (id bigint primary key, name text not null, updated_at timestamptz not null)`)
	check(err)
	api := httptest.NewServer(http.HandlerFunc(serve)) // in a service, this is the API's address
	defer api.Close()

	customers := dataflow.NewFlow("customers",
		httpjson.Source[Customer](api.URL+"/customers", &httpjson.Options{
			Records: "customers",
			Key:     "id",
			Paging:  httpjson.BodyCursor{Path: "next", Param: "after"},
			Since:   &httpjson.Since{Path: "updated_at", Param: "updated_since"}, // later runs request what is new
			Auth: func(req *http.Request) error { // called for each request, so that a token can be renewed
				req.Header.Set("Authorization", "Bearer "+token)
				return nil
			},
			Limiter: limiter(time.Tick(50 * time.Millisecond)), // 20 requests a second; 429 and Retry-After are obeyed, too
		}),
		dataflow.Identity[Customer](),
		pgtable.Upsert[Customer]("customers", "id"), // a record may come again
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.DeadLetterUpTo(100)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{customers}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	for range 2 {
		run, err := client.Trigger(ctx, "customers", nil)
		check(err)
		fmt.Printf("run %d: %s, %d read, %d written\n", run.ID, run.State, run.Counters.Read, run.Counters.Written)
	}
}

// limiter lets a request go at each tick. A *rate.Limiter of golang.org/x/time/rate does as well.
type limiter <-chan time.Time

func (l limiter) Wait(ctx context.Context) error {
	select {
	case <-l:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const token = "an-example-of-a-token"

// serve is the API: 25 customers in pages of 10.
func serve(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	since, _ := time.Parse(time.RFC3339, req.URL.Query().Get("updated_since"))
	after, _ := strconv.Atoi(req.URL.Query().Get("after"))
	var page struct {
		Customers []Customer `json:"customers"`
		Next      *string    `json:"next"`
	}
	for id := after + 1; id <= 25; id++ {
		updated := time.Date(2026, time.January, id, 0, 0, 0, 0, time.UTC)
		if updated.Before(since) {
			continue
		}
		if len(page.Customers) == 10 {
			next := strconv.Itoa(id - 1)
			page.Next = &next
			break
		}
		page.Customers = append(page.Customers, Customer{ID: int64(id), Name: fmt.Sprintf("customer %d", id), UpdatedAt: updated})
	}
	log.Printf("%s: %d customers", req.URL, len(page.Customers))
	_ = json.NewEncoder(w).Encode(page)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
