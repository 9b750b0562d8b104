package pgchange_test

import (
	"context"
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

// The block of Go in docs/change-capture.md stands here.

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

// The page's statements and its flow make a copy, with a role that has no other rights.
func TestRecipe(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/change-capture.md")
	require.NoError(t, err)
	own, err := os.ReadFile("recipes_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```(\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 2)
	require.Contains(t, string(own), blocks[1][2], "the block of the page")

	s := startServer(t)
	const table = `create table orders (id bigint primary key, email text not null, cents bigint not null, updated_at timestamptz not null)`
	admin := s.create("shop", table, `insert into orders values (1, 'a@example.com', 100, now())`)
	for line := range strings.Lines(blocks[0][2]) {
		exec(t, admin, line)
	}
	config, err := pgxpool.ParseConfig(s.url("shop"))
	require.NoError(t, err)
	config.ConnConfig.User = "follower"
	shop, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer shop.Close()
	to := s.create("copy", table)
	client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{ordersFlow(shop)}, Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	defer func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) }()
	_, err = client.Trigger(t.Context(), "orders", nil)
	require.NoError(t, err)
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
