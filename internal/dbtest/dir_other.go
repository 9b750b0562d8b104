//go:build unix && !linux

package dbtest

// memoryDir returns a directory in memory, or "" if there is none with enough room.
func memoryDir() string { return "" }
