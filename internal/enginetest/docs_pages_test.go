package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// More blocks of Go in docs, which stand here so that they compile.

// queue is another system, in docs/guarantees.md.
type queue interface {
	Send(ctx context.Context, id string, order Order) error
}

// sender sends orders to a queue that drops a message whose ID it has seen.
type sender struct{ queue queue }

func (s sender) Write(ctx context.Context, b dataflow.SinkBatch[Order]) error {
	for i, order := range b.Rows {
		if err := s.queue.Send(ctx, b.Keys[i], order); err != nil {
			return dataflow.Transient(err) // the whole batch comes again
		}
	}
	return nil
}

// brokenQueue breaks once, after it has taken a message.
type brokenQueue struct {
	seen   map[string]int
	broken bool
}

func (q *brokenQueue) Send(_ context.Context, id string, _ Order) error {
	q.seen[id]++
	if len(q.seen) == 3 && !q.broken {
		q.broken = true
		return errors.New("the queue is away")
	}
	return nil
}

// The sender in docs/guarantees.md gets a batch again, with the same keys.
func TestDocs_Sender(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		q := &brokenQueue{seen: make(map[string]int)}
		orders := dataflow.Map(func(_ context.Context, n int) (Order, error) { return Order{ID: int64(n)}, nil })
		client := t.registered(dataflow.NewFlow("orders", numbers{n: 5}, orders, dataflow.To(sender{queue: q}), nil))
		run, err := client.Trigger(t.Context(), "orders", nil)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		require.Equal(t, map[string]int{"1": 2, "2": 2, "3": 2, "4": 1, "5": 1}, q.seen)
	})
}

// shopError is an error of a client that is not ours, in docs/errors.md.
type shopError struct{ Code string }

func (e *shopError) Error() string { return e.Code }

func markShop(err error) error {
	var answer *shopError // of the shop's own client
	switch {
	case errors.As(err, &answer) && answer.Code == "account_closed":
		return dataflow.Permanent(err) // no retry can mend it
	case errors.As(err, &answer) && answer.Code == "maintenance":
		return dataflow.RetryAfter(err, 10*time.Minute)
	default:
		return err
	}
}

var errTestOrder = errors.New("a test order")

func dropTests(e *dataflow.RecordError, badSoFar int64) dataflow.Action {
	if errors.Is(e.Err, errTestOrder) {
		return dataflow.Drop
	}
	return dataflow.DeadLetterUpTo(100)(e, badSoFar)
}

// The functions in docs/errors.md decide as the page says.
func TestDocs_Errors(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		fails := func(fail error) dataflow.Transform[int, int] {
			return dataflow.Map(func(_ context.Context, n int) (int, error) {
				if n == 3 {
					return n, fail
				}
				return n, nil
			})
		}
		options := &dataflow.FlowOptions{MarkError: markShop, OnBadRecord: dropTests}
		client := t.registered(
			dataflow.NewFlow("closed", numbers{n: 5}, fails(&shopError{Code: "account_closed"}), dataflow.ToTx(discard{}), options),
			dataflow.NewFlow("away", numbers{n: 5}, fails(&shopError{Code: "maintenance"}), dataflow.ToTx(discard{}), options),
			dataflow.NewFlow("bad", numbers{n: 5}, fails(&shopError{Code: "no_price"}), dataflow.ToTx(discard{}), options),
			dataflow.NewFlow("test", numbers{n: 5}, fails(errTestOrder), dataflow.ToTx(discard{}), options),
		)
		run, err := client.Trigger(t.Context(), "closed", nil)
		require.ErrorContains(t, err, "account_closed")
		require.Equal(t, dataflow.RunFailed, run.State)
		run, err = client.Trigger(t.Context(), "away", nil)
		require.ErrorContains(t, err, "maintenance")
		require.Equal(t, dataflow.RunPending, run.State)
		require.Greater(t, run.RunAfter.Sub(run.CreatedAt), 9*time.Minute)
		run, err = client.Trigger(t.Context(), "bad", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.DeadLettered)
		run, err = client.Trigger(t.Context(), "test", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, run.Counters.Dropped)
	})
}

func docsProcess(driver dataflow.Driver, flows []*dataflow.Flow, notify func(context.Context, *dataflow.Run) error) (*dataflow.Client, error) {
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		Flows:       flows,
		CodeVersion: os.Getenv("GIT_COMMIT"), // stored with each run
		MaxWorkers:  8,                       // runs at once, and in each River queue
		Retention:   dataflow.RetentionOptions{Success: 7 * 24 * time.Hour},
		OnRunEnded:  notify,
	})
	return client, err
}

func docsStop(ctx context.Context, client *dataflow.Client) {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second) // of Kubernetes' 30
	defer cancel()
	if err := client.Stop(stopping); err != nil {
		log.Print(err) // it names each run that had to be interrupted
	}
}

// The process in docs/operating.md starts and stops.
func TestDocs_Process(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flow := dataflow.NewFlow("orders", numbers{n: 5}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		client, err := docsProcess(t.driver, []*dataflow.Flow{flow}, func(context.Context, *dataflow.Run) error { return nil })
		require.NoError(t, err)
		require.NoError(t, client.Start(t.Context()))
		docsStop(t.Context(), client)
		_, err = client.Trigger(t.Context(), "orders", nil)
		require.ErrorIs(t, err, dataflow.ErrStopped)
	})
}

func takeOver(ctx context.Context, client *dataflow.Client, updatedAt time.Time, id int64) error {
	if err := client.Register(ctx); err != nil {
		return err
	}
	place, err := client.Cursor(ctx, "orders")
	if err != nil || place.Cursor != nil { // it has begun already
		return err
	}
	cursor, err := json.Marshal(pgtable.Cursor{updatedAt.UTC().Format(time.RFC3339Nano), strconv.FormatInt(id, 10)})
	if err != nil {
		return err
	}
	_, err = client.SetCursor(ctx, "orders", &dataflow.SetCursorParams{
		Cursor: cursor, IfSeq: &place.Seq, Actor: "migration", Reason: "the old loop stopped here",
	})
	return err
}

// The cursor of docs/coming-from.md is where the flow goes on, and is set once.
func TestDocs_TakeOver(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	pg := onPool(t, pool)
	_, err := pool.Exec(t.Context(), `
		create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null);
		insert into orders select n, 'a@b', n, '2026-01-01 00:00Z'::timestamptz + n * interval '1 hour' from generate_series(1, 10) n`)
	require.NoError(t, err)
	source := pgtable.Keyset[Order](pool, pgtable.Query{SQL: `select id, email, cents, updated_at from orders`, Key: []string{"updated_at", "id"}})
	flow := dataflow.NewFlow("orders", source, dataflow.Map(func(_ context.Context, o Order) (int, error) { return int(o.ID), nil }), dataflow.ToTx(discard{}), nil)
	client := pg.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}})
	for range 2 {
		require.NoError(t, takeOver(t.Context(), client, time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC), 6))
		run, err := client.Trigger(t.Context(), "orders", nil)
		require.NoError(t, err)
		require.LessOrEqual(t, run.Counters.Read, int64(4))
	}
	require.EqualValues(t, 4, pg.number("select sum(read) from dataflow_run"))
}

type User struct {
	ID      string    `json:"id"`
	Mail    string    `json:"mail"`
	Removed *struct{} `json:"@removed" db:"-"`
}

func userChange(_ context.Context, u User) (pgtable.Change[User], error) {
	if u.Removed != nil {
		return pgtable.Change[User]{Op: pgtable.ChangeDelete, Old: &u, Identity: []string{"id"}, Loading: true}, nil
	}
	return pgtable.Change[User]{Op: pgtable.ChangeInsert, New: u, Loading: true}, nil
}

func usersFlow(address string, opts *httpjson.Options) *dataflow.Flow {
	return dataflow.NewFlow("users", httpjson.Source[User](address, opts), dataflow.Map(userChange),
		pgtable.Apply[User]("users", "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Minute}})
}

// The flow in docs/connectors/http.md applies what an API says of changes, also of users that the table does not have.
func TestDocs_HTTPChanges(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	require.NoError(t, db.exec("create table users (id text primary key, mail text not null)"))
	pages := map[string]string{
		"":  `{"value":[{"id":"a","mail":"a1"},{"id":"b","mail":"b1"},{"id":"c","mail":"c1"}],"@odata.deltaLink":"?at=1"}`,
		"1": `{"value":[{"id":"a","mail":"a2"},{"id":"b","@removed":{"reason":"deleted"}},{"id":"d","mail":"d1"},{"id":"z","@removed":{"reason":"deleted"}},{"id":"d","@removed":{}},{"id":"d","mail":"d2"}],"@odata.deltaLink":"?at=2"}`,
		"2": `{"value":[],"@odata.deltaLink":"?at=3"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, pages[req.URL.Query().Get("at")])
	}))
	t.Cleanup(server.Close)
	client := db.registered(usersFlow(server.URL, &httpjson.Options{Records: "value", Key: "id", Paging: httpjson.NextURL{Path: "@odata.nextLink", Later: "@odata.deltaLink"}}))
	for _, want := range []string{"a a1, b b1, c c1", "a a2, c c1, d d2", "a a2, c c1, d d2"} {
		_, err := db.execute(client, "users")
		require.NoError(t, err)
		require.Equal(t, want, db.text("select string_agg(id || ' ' || mail, ', ' order by id) from users"))
	}
}
