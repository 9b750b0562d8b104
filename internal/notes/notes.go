// Package notes carries a run's logger to the connectors, for what is worth a line and is
// no error.
package notes

import (
	"context"
	"log/slog"
)

type key struct{}

// With returns a context whose notes go to log.
func With(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, key{}, log)
}

// Info writes a line to the run's log. Outside of a run it does nothing.
func Info(ctx context.Context, text string, attrs ...slog.Attr) {
	if log, ok := ctx.Value(key{}).(*slog.Logger); ok {
		log.LogAttrs(ctx, slog.LevelInfo, "dataflow: "+text, attrs...)
	}
}
