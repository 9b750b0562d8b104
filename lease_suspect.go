package dataflow

// suspectAfter is how many workers in a row a run has lost when it may be the one
// that kills them. Of such runs a process works one at a time, until it gets to a
// checkpoint: so the guilty one does not draw the others into its own fate, who
// were put back when it was, and would be worked beside it again and again.
const suspectAfter = 2

// isolate reports whether a suspect may be worked here now. If so, release must
// follow.
func (c *Client) isolate(runID int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspect != 0 {
		return false
	}
	c.suspect = runID
	return true
}

// release makes room for another suspect. A run that is none may be released.
func (c *Client) release(runID int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspect == runID {
		c.suspect = 0
	}
}
