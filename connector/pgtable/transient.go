package pgtable

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/activedataflow/dataflow"
)

// transient marks what a broken connection to Postgres gives, which is often a
// plain "unexpected EOF": the client cannot tell that from any other.
func transient(ctx context.Context, err error) error {
	var network net.Error
	if ctx.Err() == nil && (errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)) {
		return dataflow.Transient(err)
	}
	return err
}
