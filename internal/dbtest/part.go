package dbtest

import "hash/fnv"

// Part reports whether a case of a test is tried: with the race detector, those whose names fall into
// one of n parts. Without it, as scripts/versions.sh runs the tests, all are.
func Part(name string, n uint32) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return !Race || h.Sum32()%n == 0
}
