//go:build race

package dbtest

// Race reports whether the race detector watches, which makes what computes much several times
// slower.
const Race = true
