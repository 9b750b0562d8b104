package dataflow

// PoolUse says what a source, a transform or a sink needs of one pool of connections.
type PoolUse struct {
	// Pool is the pool itself, such as a *pgxpool.Pool. Uses with an equal Pool count
	// together. It must be comparable, as a pointer is.
	Pool any
	// Size is how many connections the pool has at most. 0: no limit.
	Size int
	// Held is how many connections a run holds from its first record to its last, while
	// others of its parts work. A source with an open result set holds one.
	Held int
	// Borrowed is how many more it takes at a time for a moment, such as for a page or a
	// batch, and gives back without waiting for another.
	Borrowed int
}

// PoolUser is the power of a source, a transform or a sink to say which connections it
// needs. The engine finds it by type assertion. A run begins only when its pools have room
// for the connections that it holds, and otherwise stays pending. Without that, runs that
// each hold one connection and wait for another could stop each other for ever.
//
// A source that holds a connection while it yields must have this power. PoolUse must not
// touch the network.
type PoolUser interface {
	PoolUse() []PoolUse
}

// PoolNeed says how many connections of a pool the flows of a client need, and how that was
// counted. See [Client.PoolNeeds].
type PoolNeed struct {
	// Size is how many connections the pool has at most. 0: no limit.
	Size int
	// Least is how many it must have for each of the flows to run, one at a time.
	Least int
	// AllAtOnce is how many let every flow run at the same time. With fewer, some runs wait
	// as pending until others have ended.
	AllAtOnce int
	// Counted says how AllAtOnce was counted, a sentence for each part.
	Counted []string
}

// usesOf returns what a part of a flow needs.
func usesOf(part any) []PoolUse {
	if u, ok := part.(PoolUser); ok && !isNil(part) {
		return u.PoolUse()
	}
	return nil
}
