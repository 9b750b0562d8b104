package sqltable

import (
	"database/sql"

	"github.com/activedataflow/dataflow"
)

// useOf returns what a part needs of its pool.
func useOf(db *sql.DB, held, borrowed int) []dataflow.PoolUse {
	if db == nil {
		return nil // Validate reports it
	}
	return []dataflow.PoolUse{{Pool: db, Size: db.Stats().MaxOpenConnections, Held: held, Borrowed: borrowed}}
}

// PoolUse says that a read holds one connection to its last row.
func (s *selectSource[T]) PoolUse() []dataflow.PoolUse { return useOf(s.db.DB, 1, 0) }

// PoolUse says that a read borrows one connection for each page.
func (s *keyset[T]) PoolUse() []dataflow.PoolUse { return useOf(s.db.DB, 0, 1) }

// PoolUse says that the sink borrows one connection for each batch.
func (s *fencedSink[T]) PoolUse() []dataflow.PoolUse { return useOf(s.db, 0, 1) }
