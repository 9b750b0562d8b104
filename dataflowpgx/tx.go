package dataflowpgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// Tx makes the caller's transaction one that [dataflow.Client.TriggerTx] takes.
// The caller commits it or rolls it back.
func Tx(tx pgx.Tx) dataflow.Tx { return txHandle{tx: tx} }

// TxFrom returns the transaction that commits the checkpoint, for a
// [dataflow.TxSink]. It returns false outside of WriteTx. The sink must neither
// commit it nor roll it back.
func TxFrom(ctx context.Context) (pgx.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(pgx.Tx)
	return tx, ok
}

type txKey struct{}

type txHandle struct{ tx pgx.Tx }

func (h txHandle) Unwrap() any { return h.tx }
