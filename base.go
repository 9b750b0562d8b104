package dataflow

import (
	"context"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/lease"
)

// base is what every room of the engine is handed.
type base struct {
	store  Store
	log    *slog.Logger
	config *Config
	events *subscriptions
}

// now is this process's time, for events, logs and progress alone: what is
// stored has the database's.
func (b base) now() time.Time {
	if b.config.Clock != nil {
		return b.config.Clock()
	}
	return time.Now() //nolint:forbidigo // the one place that reads the real clock
}

// renewLeases prolongs leases in the database.
func (b base) renewLeases(ctx context.Context, refs []lease.Ref) ([]lease.Status, error) {
	leases := make([]LeaseRef, len(refs))
	for i, ref := range refs {
		leases[i] = LeaseRef(ref)
	}
	found, err := b.store.RunRenew(ctx, leases, b.config.Lease)
	statuses := make([]lease.Status, len(found))
	for i, s := range found {
		statuses[i] = lease.Status(s)
	}
	return statuses, err
}
