package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// cpu returns the seconds of CPU that the server and its processes have used, also those that have
// ended. It tells more than time on a machine that does other things. It needs Linux, and the server
// on the same machine; otherwise it is 0.
func cpu(ctx context.Context, pool *pgxpool.Pool) (float64, error) {
	var pid int
	if err := pool.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return 0, err
	}
	server := statOf(fmt.Sprintf("/proc/%d/stat", pid)).parent
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	own := statOf(fmt.Sprintf("/proc/%d/stat", server))
	ticks := own.used + own.ended
	for _, file := range processes {
		if s := statOf(file); s.parent == server {
			ticks += s.used
		}
	}
	return float64(ticks) / 100, nil
}

// stat is what a process has used, in hundredths of a second, and those of its children that have ended.
type stat struct {
	parent, used, ended int
}

func statOf(file string) stat {
	text, err := os.ReadFile(file)
	if err != nil {
		return stat{} // it has ended
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	n := func(i int) int {
		v, _ := strconv.Atoi(fields[i])
		return v
	}
	return stat{parent: n(1), used: n(11) + n(12), ended: n(13) + n(14)}
}
