package pgchange_test

import (
	"context"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// The blocks of Go in docs/change-capture.md stand here.

type Order struct {
	ID        int64
	Email     string
	Cents     int64
	UpdatedAt time.Time
}

func ordersFlow(shop *pgxpool.Pool) *dataflow.Flow {
	return dataflow.NewFlow("orders",
		pgchange.Stream[Order](shop, pgchange.Options{
			Publication: "shop",
			Slot:        "orders_copy",
			Tables:      []string{"orders"},
		}),
		dataflow.Identity[pgtable.Change[Order]](),
		pgtable.Apply[Order]("orders", "id"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Interval: 10 * time.Second}})
}

func run(ctx context.Context, shopURL, replicaURL string) error {
	shop, err := pgxpool.New(ctx, shopURL) // as the role follower
	if err != nil {
		return err
	}
	defer shop.Close()
	replica, err := pgxpool.New(ctx, replicaURL) // as the owner of the target table
	if err != nil {
		return err
	}
	defer replica.Close()
	client, err := dataflow.NewClient(dataflowpgx.New(replica), &dataflow.Config{Flows: []*dataflow.Flow{ordersFlow(shop)}})
	if err != nil {
		return err
	}
	if err := client.Migrate(ctx); err != nil { // makes the library's own tables
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return client.Stop(context.WithoutCancel(ctx))
}

// The page's statements and its flow make a copy, with a role that has no other rights.
func TestRecipe(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/change-capture.md")
	require.NoError(t, err)
	own, err := os.ReadFile("recipes_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 3)
	for _, block := range blocks[1:] {
		require.Contains(t, string(own), block[2], "the block of the page")
	}

	s := startServer(t)
	const table = `create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null)`
	admin := s.create("shop", table, `insert into orders values (1, 'a@example.com', 100, now())`)
	for line := range strings.Lines(blocks[0][2]) {
		exec(t, admin, line)
	}
	u, err := url.Parse(s.url("shop"))
	require.NoError(t, err)
	u.User = url.User("follower")
	to := s.create("copy", table)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, u.String(), s.url("copy")) }()
	defer func() { stop(); require.NoError(t, <-ended) }()
	copied := func(want ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			return strings.Join(rows(t, to, `select id, cents from orders order by id`), ",") == strings.Join(want, ",")
		}, patience, 20*time.Millisecond)
	}
	copied("1 100")
	exec(t, admin, `insert into orders values (2, 'b@example.com', 200, now())`, `update orders set cents = 300 where id = 2`, `delete from orders where id = 1`)
	copied("2 300")
}
