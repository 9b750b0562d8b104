package dataflowsqlite

import (
	"context"
	"database/sql"

	"github.com/activedataflow/dataflow"
)

// Tx makes the caller's transaction one that [dataflow.Client.TriggerTx] takes.
// The caller commits it or rolls it back.
func Tx(tx *sql.Tx) dataflow.Tx { return txHandle{tx: tx} }

// TxFrom returns the transaction that commits the checkpoint, for a
// [dataflow.TxSink]. It returns false outside of WriteTx. The sink must neither
// commit it nor roll it back.
func TxFrom(ctx context.Context) (*sql.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(*sql.Tx)
	return tx, ok
}

type txKey struct{}

type txHandle struct{ tx *sql.Tx }

func (h txHandle) Unwrap() any { return h.tx }
