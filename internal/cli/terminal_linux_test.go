package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// terminal starts a command on a pseudo-terminal of its own, and returns the master side.
func (t *cliT) terminal(cmd *exec.Cmd) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	require.NoError(t, err)
	var number, unlocked int32
	var locked, named syscall.Errno
	require.NoError(t, raw.Control(func(fd uintptr) {
		_, _, locked = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlocked)))
		_, _, named = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCGPTN, uintptr(unsafe.Pointer(&number)))
	}))
	require.Zero(t, locked)
	require.Zero(t, named)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, slave.Close())
	return master
}

// shows reads a terminal until it shows a text.
func (t *cliT) shows(master *os.File, text string) {
	t.Helper()
	var all strings.Builder
	b := make([]byte, 1024)
	for !strings.Contains(all.String(), text) {
		require.NoError(t, master.SetReadDeadline(time.Now().Add(2*time.Minute)))
		n, err := master.Read(b)
		all.Write(b[:n])
		require.NoError(t, err, "it shows %q, not %q", all.String(), text)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()

	t.Run("Colours", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, dbtest.SQLitePath(t))
		c.slow()
		cmd := c.command("flow", "list")
		c.shows(c.terminal(cmd), "\x1b[32mactive\x1b[0m")
		require.NoError(t, cmd.Wait())
	})

	t.Run("Asks", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, dbtest.SQLitePath(t))
		c.slow()
		for typed, code := range map[string]int{"no\n": 4, "\x04": 2} { // \x04 is ctrl-D
			c.answer(typed, code)
			require.Contains(t, c.ok("flow", "list"), "slow")
		}
		c.answer("yes\n", 0)
		require.Contains(t, c.fails(5, "flow", "list"), "migrate up")
	})

	t.Run("Bar", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, dbtest.SQLitePath(t))
		c.slow()
		cmd := c.command("enqueue", "slow", "--wait")
		master := c.terminal(cmd)
		c.shows(master, "  [                    ] 0 %  ")
		_, err := master.WriteString("\x03")
		require.NoError(t, err)
		require.Equal(t, 1, exitOf(cmd.Wait()))
	})

	t.Run("CtrlC", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, dbtest.SQLitePath(t))
		c.slow()
		cmd := c.command("enqueue", "slow", "--wait")
		master := c.terminal(cmd)
		c.shows(master, "in_progress")
		_, err := master.WriteString("\x03")
		require.NoError(t, err)
		c.shows(master, "run 1 was handed back")
		require.Equal(t, 1, exitOf(cmd.Wait()))
	})

	t.Run("Closes", func(t *testing.T) {
		t.Parallel()
		c := newCLI(t, dbtest.SQLitePath(t))
		c.slow()
		cmd := c.command("enqueue", "slow", "--wait")
		master := c.terminal(cmd)
		c.shows(master, "in_progress")
		require.NoError(t, master.Close())
		require.Equal(t, 1, exitOf(cmd.Wait()))
		require.True(t, cmd.ProcessState.Exited(), "it was killed: %s", cmd.ProcessState)
		run := c.state(1)
		require.Equal(t, dataflow.RunPending, run.State, "it was not handed back")
		require.Zero(t, run.Attempt)
	})
}

func (t *cliT) answer(typed string, code int) {
	t.Helper()
	cmd := t.command("migrate", "down", "--to", "0")
	master := t.terminal(cmd)
	t.shows(master, "Go on? [y/N]")
	_, err := master.WriteString(typed)
	require.NoError(t, err)
	require.Equal(t, code, exitOf(cmd.Wait()), typed)
}
