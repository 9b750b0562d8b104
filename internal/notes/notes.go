// Package notes carries what is worth a line and is no error: from connectors to a run's
// logger, and from long work to the command that shows its progress.
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

// Logs reports whether Info writes.
func Logs(ctx context.Context) bool {
	_, ok := ctx.Value(key{}).(*slog.Logger)
	return ok
}

// Step is how far long work is.
type Step struct {
	// What is done, as a plural: "dead letters".
	What string
	// Done of Total are done. Total is 0 if it is not known.
	Done, Total int64
	// Now is what is done now, if it has a name.
	Now string
}

type stepKey struct{}

// WithProgress returns a context whose steps go to show, from one goroutine at a time.
func WithProgress(ctx context.Context, show func(Step)) context.Context {
	return context.WithValue(ctx, stepKey{}, show)
}

// Progress says how far long work is, if anybody wants to know.
func Progress(ctx context.Context, s Step) {
	if show, ok := ctx.Value(stepKey{}).(func(Step)); ok {
		show(s)
	}
}
