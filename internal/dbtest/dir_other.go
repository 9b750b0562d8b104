//go:build unix && !linux

package dbtest

// memoryDir returns a directory that is kept in memory, or "" if there is none with room.
func memoryDir() string { return "" }
