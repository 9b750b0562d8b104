package keyrange

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPinging(t *testing.T) {
	t.Parallel()
	errLost := errors.New("lost")
	for name, test := range map[string]struct {
		takes time.Duration // of the work
		lost  int           // the ping that fails; 0: none does
		pings int
		want  error
	}{
		"quick": {takes: time.Second}, "slow": {takes: time.Minute + time.Second, pings: 30}, "lost": {takes: time.Hour, lost: 3, pings: 3, want: errLost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pings := 0
				ping := func(context.Context) error {
					if pings++; pings == test.lost {
						return errLost
					}
					return nil
				}
				err := pinging(t.Context(), ping, func(ctx context.Context) error {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(test.takes):
						return nil
					}
				})
				require.ErrorIs(t, err, test.want)
				require.Equal(t, test.pings, pings)
			})
		})
	}
}
