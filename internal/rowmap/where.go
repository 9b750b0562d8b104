package rowmap

// Where is the query with a condition on its columns, which are named as by
// [Qualified]. The condition has args parameters. They follow the query's own,
// and come before those of the key.
func (k *Keyset) Where(condition string, args int) *Keyset {
	w := *k
	w.SQL = "select q.*" + k.from() + " where " + condition
	w.Args += args
	return &w
}
