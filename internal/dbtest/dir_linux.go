package dbtest

import "syscall"

// enoughMemory is several times what the servers of parallel test binaries need. The /dev/shm
// of a container is often much smaller.
const enoughMemory = 2 << 30

// memoryDir returns a directory in memory, or "" if there is none with enough room.
func memoryDir() string {
	const dir = "/dev/shm"
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < enoughMemory {
		return ""
	}
	return dir
}
