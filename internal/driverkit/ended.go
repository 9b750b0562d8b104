package driverkit

import (
	"context"
	"errors"
	"fmt"
)

// Ended adds to an error that of a context that has ended. A driver closes the connection then, or
// rolls back, and may tell that alone. Ended returns nil for nil.
func Ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
