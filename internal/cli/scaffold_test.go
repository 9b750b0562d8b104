package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// folder is a folder in which a test runs commands.
type folder struct {
	*testing.T
	dir string
	env []string
	exe string // the program to run
}

// newFolder returns an empty folder of this name, and builds cmd/dataflow for it.
func newFolder(t *testing.T, name string) *folder {
	t.Helper()
	exe, err := builtProgram()
	require.NoError(t, err)
	f := &folder{T: t, dir: filepath.Join(t.TempDir(), name), exe: exe}
	require.NoError(t, os.Mkdir(f.dir, 0o755))
	// Modules come from the cache that the tests have filled. Only go mod tidy may need the
	// proxy, for a module that no test needs.
	f.env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off", "DATABASE_URL=", "USER=ann")
	return f
}

// programs is the folder of cmd/dataflow, which TestMain removes.
var programs = filepath.Join(os.TempDir(), fmt.Sprintf("dataflow-cli-test-%d", os.Getpid()))

// builtProgram builds cmd/dataflow once, and returns its path.
var builtProgram = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(programs, "dataflow")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-o", exe, "../../cmd/dataflow").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build cmd/dataflow: %w: %s", err, out)
	}
	return exe, nil
})

// run runs a program and returns its output and its exit code.
func (f *folder) run(name string, args ...string) (string, int) {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), name, args...)
	cmd.Dir, cmd.Env = f.dir, f.env
	out, err := cmd.CombinedOutput()
	return string(out), exitOf(err)
}

func (f *folder) must(name string, args ...string) string {
	f.Helper()
	out, code := f.run(name, args...)
	require.Zero(f, code, "%s %q: %s", name, args, out)
	return out
}

// checkedOut makes a module use dataflow, and the modules it needs, from this checkout.
func (f *folder) checkedOut() {
	f.Helper()
	checkout, err := filepath.Abs("../..")
	require.NoError(f, err)
	f.must("go", "mod", "edit", "-require=github.com/activedataflow/dataflow@v0.0.0", "-replace=github.com/activedataflow/dataflow="+checkout)
	sums, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	require.NoError(f, err)
	f.write("go.sum", string(sums))
	f.must("go", "mod", "tidy")
}

func (f *folder) write(name, text string) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	require.NoError(f, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f, os.WriteFile(path, []byte(text), 0o644))
}

func (f *folder) read(name string) string {
	f.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	require.NoError(f, err)
	return string(data)
}

// The code of init and new flow is formatted, compiles, passes vet and its own tests, and runs.
func TestInit(t *testing.T) {
	t.Parallel()

	t.Run("EmptyFolder", func(t *testing.T) {
		t.Parallel()
		f := newFolder(t, "shop")
		out := f.must(f.exe, "init")
		require.Contains(t, out, "wrote main.go")
		require.Contains(t, out, "go run . migrate up")
		require.Contains(t, f.must(f.exe, "new", "flow", "daily-orders"), `add newDailyOrders(insert[dailyOrdersRow](db, "daily_orders_row"))`)
		f.must(f.exe, "new", "flow", "Type")
		f.must(f.exe, "new", "flow", "order") // words of SQL
		f.must(f.exe, "new", "flow", "user")
		require.Contains(t, f.read("go.mod"), "module shop\n")
		f.checkedOut()
		f.passes("./...")

		f.must("go", "build", "-o", "shop", ".")
		for kind, url := range map[string]string{"SQLite": "", "Postgres": dbtest.PostgresURL(t)} {
			f.env = append(f.env, "DATABASE_URL="+url)
			require.Contains(t, f.must("./shop", "migrate", "up"), "Registered: hello.", kind)
			require.Contains(t, f.must("./shop", "enqueue", "hello", "--wait"), "success  4 read, 3 written", kind)
			require.Contains(t, f.must("./shop", "run-due"), "0 worked here", kind)
		}
		require.FileExists(t, filepath.Join(f.dir, "shop.db"))
	})

	t.Run("ExistingModule", func(t *testing.T) {
		t.Parallel()
		f := newFolder(t, "site")
		f.write("go.mod", "module example.com/site\n\ngo 1.26\n")
		f.write("main.go", "package main\n\nfunc main() {}\n")
		f.write("internal/feed/feed.go", "package feed\n")
		require.Contains(t, f.must(f.exe, "init"), "wrote cmd/flows/main.go")
		said := f.must(f.exe, "new", "flow", "news", "--dir", "internal/feed")
		require.Contains(t, said, `add newNews(pgtable.Insert[newsRow]("news_row"))`)
		require.Contains(t, said, "\n  go test ./internal/feed\n")
		f.must(f.exe, "new", "flow", "blog", "--dir", "internal/blog-posts")
		require.Equal(t, "package main\n\nfunc main() {}\n", f.read("main.go"))
		require.True(t, strings.HasPrefix(f.read("go.mod"), "module example.com/site\n"))
		require.True(t, strings.HasPrefix(f.read("internal/feed/news_flow.go"), "package feed\n"))
		require.True(t, strings.HasPrefix(f.read("internal/blog-posts/blog_flow.go"), "package blogposts\n"))
		f.checkedOut()
		f.passes("./...")
	})
}

// passes checks the code of a module as its user would.
func (f *folder) passes(packages string) {
	f.Helper()
	f.must("go", "vet", packages)
	require.Empty(f, f.must("gofmt", "-l", "."))
	out := f.must("go", "test", packages)
	require.Contains(f, out, "ok  \t")
	require.NotContains(f, out, "no tests to run")
}

// inFolder runs a command of a program in a folder of its own.
func inFolder(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return newCLI(t, "").run(append(args, "--dir", dir)...)
}

// Existing files stay as they are, unless --force is given.
func TestInit_Exists(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go.mod", "main.go", "hello_flow.go", "hello_flow_test.go"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "shop")
			require.Zero(t, inFolder(t, dir, "init").code)
			before, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			for _, other := range []string{"go.mod", "main.go", "hello_flow_test.go"} {
				if other != name && name != "go.mod" {
					require.NoError(t, os.Remove(filepath.Join(dir, other)))
				}
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("module mine\n// of the user's own"), 0o644))
			r := inFolder(t, dir, "init")
			require.Equal(t, 4, r.code, r.out)
			require.Regexp(t, "(already exists, .* overwrite it|already exist, .* overwrite them)\n$", r.err)
			mine, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Contains(t, string(mine), "of the user's own")
			if name != "go.mod" && name != "hello_flow_test.go" {
				require.NoFileExists(t, filepath.Join(dir, "hello_flow_test.go"))
			}
			require.Zero(t, inFolder(t, dir, "init", "--force").code)
			after, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
		})
	}
	t.Run("Directory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "main.go"), 0o755))
		r := inFolder(t, dir, "init", "--force", "--module", "shop")
		require.Equal(t, 4, r.code, r.out)
		require.NoFileExists(t, filepath.Join(dir, "go.mod"))
	})
	t.Run("Symlink", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		elsewhere := filepath.Join(t.TempDir(), "precious.go")
		require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o644))
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "main.go")))
		require.Equal(t, 4, inFolder(t, dir, "init", "--module", "shop").code)
		require.Zero(t, inFolder(t, dir, "init", "--module", "shop", "--force").code)
		data, err := os.ReadFile(elsewhere)
		require.NoError(t, err)
		require.Equal(t, "precious", string(data))
	})
	t.Run("Flow", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		r := inFolder(t, dir, "new", "flow", "orders")
		require.Equal(t, 4, r.code)
		require.Contains(t, r.err, "there is no go.mod")
		require.Zero(t, inFolder(t, dir, "init", "--module", "shop").code)
		require.Zero(t, inFolder(t, dir, "new", "flow", "orders").code)
		require.NoError(t, os.Remove(filepath.Join(dir, "orders_flow.go")))
		require.Equal(t, 4, inFolder(t, dir, "new", "flow", "orders").code)
		require.NoFileExists(t, filepath.Join(dir, "orders_flow.go"), "half was written")
		require.Zero(t, inFolder(t, dir, "new", "flow", "orders", "--force").code)
		require.FileExists(t, filepath.Join(dir, "orders_flow.go"))
	})
}

// Two flows whose names make the same identifiers would not compile.
func TestNew_SameInCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.Zero(t, inFolder(t, dir, "init", "--module", "shop").code)
	require.Zero(t, inFolder(t, dir, "new", "flow", "daily-orders").code)
	before := list(t, dir)
	r := inFolder(t, dir, "new", "flow", "dailyOrders")
	require.Equal(t, 4, r.code)
	require.Contains(t, r.err, "daily_orders_flow.go already declares newDailyOrders")
	require.Equal(t, before, list(t, dir))
}

// A file that cannot be written does not count as an error of a database.
func TestInit_NoFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Equal(t, 1, inFolder(t, filepath.Join(file, "x"), "init", "--module", "shop").code)
}

// Names that cannot be used for files, code or tables are refused, and no file is written.
func TestNew_Names(t *testing.T) {
	t.Parallel()
	for name, hint := range map[string]string{
		"":                       "",
		"daily orders":           "such as daily-orders",
		`"orders"`:               "such as orders",
		"o'rders":                "such as o-rders",
		"`rm -rf`":               "such as rm-rf",
		"$(reboot)":              "such as reboot",
		"../orders":              "such as orders",
		"../../etc/passwd":       "such as etc-passwd",
		"/etc/passwd":            "such as etc-passwd",
		`a\b`:                    "such as a-b",
		"orders.go":              "such as orders-go",
		".hidden":                "such as hidden",
		"-flag":                  "such as flag",
		"_test":                  "such as test",
		"7up":                    "such as up",
		"a--b":                   "such as a-b",
		"orders-":                "such as orders",
		"a\nb":                   "such as a-b",
		"a\x00b":                 "such as a-b",
		"a;drop table":           "such as a-drop-table",
		"Bestellungen für heute": "such as bestellungen-f-r-heute",
		"заказы":                 "",
		"注文":                     "",
		"sqlite-orders":          "SQLite reserves names",
		"\xff\xfe":               "",
		strings.Repeat("x", 300): "300 bytes is too long",
		strings.Repeat("é", 300): "600 bytes is too long",
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.Zero(t, inFolder(t, dir, "init", "--module", "shop").code)
			before := list(t, filepath.Dir(dir))
			r := newCLI(t, "").run("new", "flow", "--dir", dir, "--", name)
			require.Equal(t, 2, r.code, r.out)
			require.Contains(t, r.err, hint)
			require.Equal(t, before, list(t, filepath.Dir(dir)))
			if like := regexp.MustCompile(`such as (\S+)`).FindStringSubmatch(r.err); like != nil {
				require.Zero(t, inFolder(t, dir, "new", "flow", like[1]).code, "its own proposal %s", like[1])
			}
		})
	}
	for _, module := range []string{"", "a b", `a"b`, "../shop", "shop/../..", "/shop", "shop/", "магазин", strings.Repeat("x", 300), "a\nreplace b => c"} {
		dir := t.TempDir()
		r := inFolder(t, dir, "init", "--module="+module)
		if module == "" {
			require.Zero(t, r.code)
			continue
		}
		require.Equal(t, 2, r.code, module)
		require.Empty(t, list(t, dir))
	}
	// The default, the name of the folder, is made valid.
	for name, module := range map[string]string{"My Shop": "my-shop", "магазин": "flows", "42": "flows", "$(x)": "x", "a.b": "a-b"} {
		dir := filepath.Join(t.TempDir(), name)
		require.Zero(t, inFolder(t, dir, "init").code)
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		require.NoError(t, err)
		require.Contains(t, string(data), "module "+module+"\n")
	}
}

// list returns the files and folders below a folder.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			names = append(names, path)
		}
		return err
	}))
	return names
}
