//go:build unix

package files_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/internal/files"
)

const (
	killPath  = "DATAFLOW_FILES_PATH"
	killFence = "DATAFLOW_FILES_FENCE"
)

// TestKilled runs only in the processes that TestAppender_Killed starts and kills.
// It appends numbers and prints each committed number.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := os.Getenv(killPath)
	if path == "" {
		t.Skip(killPath + " is not set")
	}
	fence, err := strconv.ParseInt(os.Getenv(killFence), 10, 64)
	require.NoError(t, err)
	a := appender(path)
	ctx := context.Background()
	state, err := a.Claim(ctx, "f", fence)
	require.NoError(t, err)
	next := number(t, state)
	random := rand.New(rand.NewPCG(uint64(fence), 0))
	for {
		var body strings.Builder
		for range 1 + random.IntN(500) {
			fmt.Fprintf(&body, "{\"n\":%d,\"pad\":%q}\n", next, strings.Repeat("x", random.IntN(100)))
			next++
		}
		require.NoError(t, a.Write(ctx, "f", fence, []byte(strconv.Itoa(next)), []byte(body.String())))
		_, err := os.Stdout.WriteString(strconv.Itoa(next) + "\n")
		require.NoError(t, err)
	}
}

func appender(path string) *files.Appender {
	return &files.Appender{Path: path, MaxBytes: int64(len(filepath.Ext(path))-4) * 100_000} // .json files rotate
}

func number(t *testing.T, state json.RawMessage) int {
	t.Helper()
	if state == nil {
		return 0
	}
	n, err := strconv.Atoi(string(state))
	require.NoError(t, err)
	return n
}

// A writer is killed again and again. The files hold each committed line once, and
// nothing else.
func TestAppender_Killed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"out.txt", "out.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			a := appender(path)
			last := 0
			for fence := int64(1); fence <= 20; fence += 2 {
				told := runAndKill(t, path, fence)
				state, err := a.Claim(t.Context(), "f", fence+1)
				require.NoError(t, err)
				next := number(t, state)
				require.GreaterOrEqual(t, next, max(told, last), "a committed batch is gone")
				require.Equal(t, next, lines(t, path))
				last = next
			}
			require.Positive(t, last)
		})
	}
}

// runAndKill starts a process, lets it commit a few batches, and kills it. It
// returns the last number that the process printed.
func runAndKill(t *testing.T, path string, fence int64) (told int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killPath+"="+path, killFence+"="+strconv.FormatInt(fence, 10))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	scanner := bufio.NewScanner(out)
	for batches := int64(0); batches <= fence%7 && scanner.Scan(); batches++ {
		told, err = strconv.Atoi(scanner.Text())
		require.NoError(t, err, "the process failed: %s", scanner.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	return told
}

// lines counts the lines of all files. It requires that they are numbered without a
// gap.
func lines(t *testing.T, path string) int {
	t.Helper()
	type line struct {
		N int `json:"n"`
	}
	ext := filepath.Ext(path)
	n := 0
	for item, err := range jsonl.OpenGlob[line](strings.TrimSuffix(path, ext)+"*"+ext, nil).Read(t.Context(), dataflow.Request[jsonl.Cursor]{}) {
		require.NoError(t, err)
		require.Equal(t, n, item.Value.N)
		n++
	}
	return n
}
