package pgtable

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/pools"
)

// useOf returns what a part needs of its pool.
func useOf(pool *pgxpool.Pool, held, borrowed int) []dataflow.PoolUse {
	if pool == nil {
		return nil // Validate reports it
	}
	return []dataflow.PoolUse{{Pool: pool, Size: int(pool.Config().MaxConns), Held: held, Borrowed: borrowed}}
}

// PoolUse says that a read holds one connection to its last row.
func (s *selectSource[T]) PoolUse() []dataflow.PoolUse { return useOf(s.of.pool, 1, 0) }

// PoolUse says that a read borrows one connection for each page.
func (s *keysetSource[T]) PoolUse() []dataflow.PoolUse { return useOf(s.of.pool, 0, 1) }

// PoolUse says that the sink borrows one connection for each batch.
func (s *fence) PoolUse() []dataflow.PoolUse { return useOf(s.pool, 0, 1) }

// begin runs f in a transaction that leaves one connection of the pool free, which the caller's
// own function may want.
func (s *fence) begin(ctx context.Context, f func(tx pgx.Tx) error) error {
	end, err := pools.Process.Begin(ctx, s.pool, int(s.pool.Config().MaxConns))
	if err != nil {
		return err
	}
	defer end()
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: beginFenced}, f)
}
