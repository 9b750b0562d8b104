package enginetest_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// zoneEnv is set in processes with zone data of their own. Its value is the URL of a Postgres
// database or the path of an SQLite file. zoneIDEnv is the client's Config.ID.
const (
	zoneEnv   = "DATAFLOW_TEST_ZONE"
	zoneIDEnv = "DATAFLOW_TEST_ZONE_ID"
)

// The rules of Vancouver after 2026-03, in the form of a TZ variable: by the law since 2026 and by
// the one before, which zone data up to 2025c have.
const (
	newVancouver = "MST7"
	oldVancouver = "PST8PDT,M3.2.0,M11.1.0"
)

// zoneDir writes a directory of zone data in which Vancouver has these rules, for ZONEINFO.
func zoneDir(t *testing.T, rules, version string) string {
	t.Helper()
	header := func(version byte) []byte {
		h := append([]byte("TZif"), version)
		h = append(h, make([]byte, 15)...)
		for _, count := range []uint32{0, 0, 0, 0, 1, 4} { // one kind of local time, a name of four bytes
			h = binary.BigEndian.AppendUint32(h, count)
		}
		return append(h, 0, 0, 0, 0, 0, 0, 'L', 'M', 'T', 0) // no offset, for times before the rules
	}
	var file bytes.Buffer
	file.Write(header('2'))
	file.Write(header('2'))
	fmt.Fprintf(&file, "\n%s\n", rules)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "America"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "America", "Vancouver"), file.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tzdata.zi"), []byte("# version "+version+"\n"), 0o600))
	return dir
}

// vancouverFlow runs daily at 02:00 in Vancouver, and does nothing.
func vancouverFlow() *dataflow.Flow {
	nothing := dataflow.TxSinkFunc[int](func(context.Context, []int) error { return nil })
	return dataflow.NewFlow("vancouver", numbers{n: 1}, dataflow.Identity[int](), dataflow.ToTx(nothing), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 2 * * *", TimeZone: "America/Vancouver"}},
	})
}

// openWhere opens the database of zoneEnv.
func openWhere(ctx context.Context, where string) (dataflow.Driver, func() error, error) {
	if strings.HasPrefix(where, "postgres") {
		pool, err := pgxpool.New(ctx, where)
		if err != nil {
			return nil, nil, err
		}
		return dataflowpgx.New(pool), func() error { pool.Close(); return nil }, nil
	}
	db, err := sql.Open("sqlite", "file:"+where+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1)
	return dataflowsqlite.New(db), db.Close, nil
}

// zoneWorker is the main of a process with zone data of its own. Each line of its standard input
// is a time. It sets its clock to that, starts its client if that has not been started, and looks
// for due ticks. It answers with a line.
func zoneWorker(ctx context.Context, where string) error {
	driver, closeDB, err := openWhere(ctx, where)
	if err != nil {
		return err
	}
	c := newClock()
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		ID: os.Getenv(zoneIDEnv), Flows: []*dataflow.Flow{vancouverFlow()}, Clock: c.Now, PollInterval: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	var start sync.Once
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		now, err := time.Parse(time.RFC3339, lines.Text())
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.now = now
		c.mu.Unlock()
		start.Do(func() { err = client.Start(ctx) })
		if err != nil {
			return err
		}
		if _, err := client.Tick(ctx); err != nil {
			return err
		}
		fmt.Println("looked at", lines.Text())
	}
	if err := client.Stop(ctx); err != nil {
		return err
	}
	return closeDB()
}

// zoneProcess is a started client in a process with zone data of its own.
type zoneProcess struct {
	*process
	log *syncBuffer
}

// syncBuffer is a buffer that a process writes while a test reads it.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startZone(t *testing.T, where, id, zoneInfo string) *zoneProcess {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), zoneEnv+"="+where, zoneIDEnv+"="+id, "ZONEINFO="+zoneInfo)
	p := &zoneProcess{process: &process{cmd: cmd}, log: &syncBuffer{}}
	cmd.Stderr = p.log
	var err error
	p.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, cmd.Start())
	return p
}

// look lets the process look for ticks at a time.
func (p *zoneProcess) look(t *testing.T, now string) {
	t.Helper()
	_, err := io.WriteString(p.in, now+"\n")
	require.NoError(t, err)
	require.Equal(t, "looked at "+now+"\n", p.hear(t), p.log)
}

// stop ends the process. Only after that, all that it has logged is in its log.
func (p *zoneProcess) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.in.Close())
	require.NoError(t, p.cmd.Wait(), p.log)
}

// zoneT is a test of two processes with different zone data.
type zoneT struct {
	*testing.T
	where          string
	client         *dataflow.Client
	clock          *clock
	oldDir, newDir string
}

// onZones runs a test on both databases.
func onZones(t *testing.T, fn func(t *zoneT)) {
	t.Helper()
	run := func(t *testing.T, where string) {
		t.Helper()
		driver, closeDB, err := openWhere(t.Context(), where)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, closeDB()) })
		c := newClock()
		c.now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
		client, err := dataflow.NewClient(driver, &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Clock: c.Now})
		require.NoError(t, err)
		require.NoError(t, client.Migrate(t.Context()))
		fn(&zoneT{T: t, where: where, client: client, clock: c, oldDir: zoneDir(t, oldVancouver, "2025c"), newDir: zoneDir(t, newVancouver, "2026f")})
	}
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); run(t, dbtest.PostgresURL(t)) })
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); run(t, dbtest.SQLitePath(t)) })
}

// ran returns the ticks that have become runs, oldest first.
func (t *zoneT) ran() []string {
	t.Helper()
	runs, err := t.client.Runs(t.Context(), &dataflow.RunListParams{Flow: "vancouver", Limit: 100})
	require.NoError(t, err)
	ticks := []string{}
	for _, run := range runs {
		ticks = append([]string{run.ScheduledFor.UTC().Format("01-02 15:04")}, ticks...)
	}
	return ticks
}

// requireRan waits until these ticks have become runs, and no other. A process looks for ticks in a
// loop too, and may be about to commit one.
func (t *zoneT) requireRan(want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(t.ran()) >= len(want) }, patience, 5*time.Millisecond)
	require.Equal(t, want, t.ran())
}

// ledger returns the ticks that have become none, oldest first.
func (t *zoneT) ledger() []string {
	t.Helper()
	skipped, err := t.client.SkippedTicks(t.Context(), &dataflow.TickListParams{Flow: "vancouver"})
	require.NoError(t, err)
	ticks := []string{}
	for _, s := range skipped {
		ticks = append([]string{fmt.Sprintf("%s %d %s", s.First.UTC().Format("01-02 15:04"), s.Count, s.Reason)}, ticks...)
	}
	return ticks
}

// A process stores a tick by old rules, and one with new rules finds it.
func TestZone_StoredTickIsFired(t *testing.T) {
	t.Parallel()
	onZones(t, func(t *zoneT) {
		was := startZone(t.T, t.where, "old", t.oldDir)
		is := startZone(t.T, t.where, "new", t.newDir)
		is.look(t.T, "2026-11-29T12:00:00Z")  // the next tick is at 11-30 09:00Z
		was.look(t.T, "2026-11-30T09:00:00Z") // where this one has it at 10:00Z
		t.requireRan("11-30 09:00")
		was.look(t.T, "2026-11-30T10:00:00Z") // and not again
		is.look(t.T, "2026-12-01T09:59:00Z")  // the next one is stored at 10:00Z
		is.look(t.T, "2026-12-01T10:00:00Z")
		t.requireRan("11-30 09:00", "12-01 10:00")
		require.Empty(t, t.ledger())
		is.stop(t.T)
		was.stop(t.T)
	})
}

// Processes with different rules take turns or look at once: each local day has one run.
func TestZone_OneTickEachLocalDay(t *testing.T) {
	t.Parallel()
	onZones(t, func(t *zoneT) {
		both := []*zoneProcess{startZone(t.T, t.where, "old", t.oldDir), startZone(t.T, t.where, "new", t.newDir)}
		for _, p := range both {
			p.look(t.T, "2026-11-27T12:00:00Z")
		}
		const days = 12
		for day := range days {
			date := time.Date(2026, 11, 28+day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
			first, second := both[day%2], both[1-day%2]
			if day%4 < 2 {
				first, second = second, first
			}
			for _, hour := range []string{"T09:00:00Z", "T10:00:00Z", "T11:00:00Z"} {
				first.look(t.T, date+hour)
				second.look(t.T, date+hour)
			}
			require.Eventually(t, func() bool { return len(t.ran()) > day }, patience, 5*time.Millisecond)
			require.Len(t, t.ran(), day+1, "after %s: %v", date, t.ran())
		}
		for i, tick := range t.ran() {
			date := time.Date(2026, 11, 28+i, 0, 0, 0, 0, time.UTC).Format("01-02")
			require.Contains(t, []string{date + " 09:00", date + " 10:00"}, tick)
		}
		for _, p := range both {
			p.stop(t.T)
		}
	})
}

// Registration computes the next tick anew, once: processes that are started in turn do not move
// it to and fro.
func TestZone_RegistrationComputesAnew(t *testing.T) {
	t.Parallel()
	onZones(t, func(t *zoneT) {
		for i, dir := range []string{t.oldDir, t.newDir, t.oldDir, t.newDir} {
			p := startZone(t.T, t.where, fmt.Sprint("p", i), dir)
			p.look(t.T, fmt.Sprintf("2026-11-29T1%d:00:00Z", i))
			p.stop(t.T)
			require.Equal(t, i > 0, len(t.ledger()) == 1)
		}
		require.Equal(t, []string{"11-30 10:00 1 zone_rules_changed"}, t.ledger())
		flow, err := t.client.Flow(t.Context(), "vancouver")
		require.NoError(t, err)
		require.Equal(t, "2026-11-30T09:00:00Z", flow.NextRunAt.UTC().Format(time.RFC3339))
		require.Equal(t, "2026-11-30 02:00:00", flow.NextRunLocal)
		p := startZone(t.T, t.where, "last", t.newDir)
		p.look(t.T, "2026-11-30T09:00:00Z")
		t.requireRan("11-30 09:00")
		p.look(t.T, "2026-11-30T10:00:00Z")
		p.stop(t.T)
		t.requireRan("11-30 09:00")
		require.Equal(t, []string{"11-30 10:00 1 zone_rules_changed"}, t.ledger())
	})
}

// Why, ZoneConflicts and the log say which processes disagree about a zone, and whose data are older.
func TestZone_ConflictIsTold(t *testing.T) {
	t.Parallel()
	onZones(t, func(t *zoneT) {
		const now = "2026-11-27T12:00:00Z"
		is := startZone(t.T, t.where, "new", t.newDir)
		is.look(t.T, now)
		alone, err := t.client.ZoneConflicts(t.Context())
		require.NoError(t, err)
		isPostgres := strings.HasPrefix(t.where, "postgres")
		require.LessOrEqual(t, len(alone), 1, "the server's data may be older or newer than these rules")
		was := startZone(t.T, t.where, "old", t.oldDir)
		was.look(t.T, now)

		all, err := t.client.Processes(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, []string{"2026f", "ZONEINFO " + t.newDir}, []string{all[0].ZoneData.Version, all[0].ZoneData.Source})
		require.Equal(t, "2025c", all[1].ZoneData.Version)

		conflicts, err := t.client.ZoneConflicts(t.Context())
		require.NoError(t, err)
		require.Len(t, conflicts, len(alone)+1)
		c := conflicts[0]
		require.Equal(t, [2]string{"old", "new"}, c.Processes)
		require.Equal(t, [2]time.Duration{-8 * time.Hour, -7 * time.Hour}, c.Offsets)
		want := "process old (zone data 2025c, from ZONEINFO " + t.oldDir + ") and process new (zone data 2026f, from ZONEINFO " + t.newDir + ") disagree about America/Vancouver: " +
			"about 2026-11-27T12:00:00Z, it is UTC-08:00 for the one and UTC-07:00 for the other; the data of old are older: update them"
		require.Equal(t, want, c.String())
		why, err := t.client.Why(t.Context(), "vancouver")
		require.NoError(t, err)
		require.Contains(t, why.String(), "Its next ticks depend on who computes them: "+want)
		if !isPostgres {
			require.Empty(t, alone)
		}
		is.stop(t.T)
		was.stop(t.T)
		require.Contains(t, was.log.String(), want)
		require.NotContains(t, is.log.String(), want, "the process that starts later tells")
		conflicts, err = t.client.ZoneConflicts(t.Context())
		require.NoError(t, err)
		require.Empty(t, conflicts, "nobody is alive")
	})
}

// The database server's zone data are compared too.
func TestZone_Server(t *testing.T) {
	t.Parallel()
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		where := dbtest.PostgresURL(t)
		p, client := serverOf(t, where)
		// Nobody has these rules: the server's data differ from them, whatever their version.
		p.look(t, "2026-11-27T12:00:00Z")
		conflicts, err := client.ZoneConflicts(t.Context())
		require.NoError(t, err)
		require.Len(t, conflicts, 1)
		require.Equal(t, [2]string{"odd", ""}, conflicts[0].Processes)
		require.Contains(t, conflicts[0].String(), "and the database server disagree about America/Vancouver")
		p.stop(t)
		require.Contains(t, p.log.String(), "and the database server disagree about America/Vancouver")
	})
}

// serverOf starts a process with rules that no zone data have, and migrates its database.
func serverOf(t *testing.T, where string) (*zoneProcess, *dataflow.Client) {
	t.Helper()
	driver, closeDB, err := openWhere(t.Context(), where)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeDB()) })
	c := newClock()
	c.now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	client, err := dataflow.NewClient(driver, &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Clock: c.Now})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	return startZone(t, where, "odd", zoneDir(t, "ODD3", "2030a")), client
}
