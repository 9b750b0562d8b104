package dataflowpgx

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/zonedata"
)

// unknownZone is the SQLSTATE invalid_parameter_value.
const unknownZone = "22023"

var _ dataflow.ZoneReader = (*store)(nil)

// ZoneOffsets makes a store a [dataflow.ZoneReader].
func (s *store) ZoneOffsets(ctx context.Context, zone string, from time.Time) ([]dataflow.ZoneOffset, error) {
	first, n := zonedata.Moments(from)
	rows, err := s.pool.Query(ctx, sqlZoneOffsets, zone, first, int64(zonedata.Step/time.Second), n)
	if err != nil {
		return nil, err
	}
	seconds, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) && refused.Code == unknownZone {
		return nil, nil //nolint:nilnil // documented: the server does not know the zone
	}
	if err != nil {
		return nil, err
	}
	return zonedata.Collect(from, func(at int64) int {
		return seconds[(at-first)/int64(zonedata.Step/time.Second)]
	}), nil
}
