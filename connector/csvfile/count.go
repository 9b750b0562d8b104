package csvfile

import (
	"context"
	"errors"
	"io"
)

// count counts the records, good or bad, without building their cells.
func count(ctx context.Context, recs *records) (n int64, err error) {
	recs.counts = recs.f.opts.Footer == "" && !recs.f.opts.SkipRepeatedHeader
	for {
		_, err := recs.next()
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil && !isRecordError(err):
			return n, err
		}
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}
