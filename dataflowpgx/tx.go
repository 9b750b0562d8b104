package dataflowpgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// Tx wraps the caller's transaction for [dataflow.Client.TriggerTx]. The caller
// commits it or rolls it back.
func Tx(tx pgx.Tx) dataflow.Tx { return txHandle{tx: tx} }

// TxFrom returns the transaction that commits the checkpoint, for use in the
// WriteTx of a [dataflow.TxSink]. It returns false anywhere else. The sink must
// neither commit the transaction nor roll it back.
func TxFrom(ctx context.Context) (pgx.Tx, bool) {
	tx, ok := ctx.Value(txKey{}).(pgx.Tx)
	return tx, ok
}

type txKey struct{}

type txHandle struct {
	tx  pgx.Tx
	own bool // the store has begun it
}

func (h txHandle) Unwrap() any { return h.tx }
