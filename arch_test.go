package dataflow_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/activedataflow/dataflow"

// arrows are the packages of this module that each package may import, tests
// aside. A package that is not listed fails the test: say where it stands.
var arrows = map[string][]string{
	"":                        {"internal/batch", "internal/exact", "internal/group", "internal/lease", "internal/notes", "internal/pools", "internal/schedule", "internal/stored", "internal/wake", "internal/zonedata"},
	"dataflowpgx":             {"", "internal/driverkit", "internal/migration", "internal/pooler", "internal/pools", "internal/sqlstate", "internal/zonedata"},
	"dataflowsqlite":          {"", "internal/driverkit", "internal/migration"},
	"connector/httpjson":      {"", "internal/httpcall", "internal/jsonrow", "internal/mask"},
	"connector/jsonrpc":       {"", "internal/httpcall", "internal/jsonrow", "internal/notes"},
	"internal/httpcall":       {""},
	"connector/jsonl":         {"", "internal/files", "internal/jsonrow", "internal/notes"},
	"internal/jsonrow":        {"internal/exact", "internal/stored"},
	"internal/files":          {"", "internal/notes"},
	"connector/csvfile":       {"", "internal/csvguess", "internal/files", "internal/notes"},
	"internal/notes":          {},
	"internal/exact":          {},
	"internal/group":          {},
	"connector":               {}, // its README, and that README's code as a test
	"connector/connectortest": {""},
	"connector/memory":        {""},
	"connector/reconcile":     {"", "internal/keyrange"},
	"internal/keyrange":       {},
	"connector/pgtable":       {"", "connector/reconcile", "dataflowpgx", "internal/batch", "internal/driverkit", "internal/keyrange", "internal/pooler", "internal/pools", "internal/rowmap", "internal/rowparts", "internal/sqlstate"},
	"connector/sqltable":      {"", "connector/reconcile", "dataflowsqlite", "internal/driverkit", "internal/keyrange", "internal/pools", "internal/rowmap", "internal/rowparts"},
	"internal/batch":          {},
	"internal/lease":          {},
	"internal/migration":      {},
	"internal/pooler":         {""},
	"internal/sqlstate":       {},
	"internal/rowmap":         {""},
	"internal/rowparts":       {""},
	"internal/driverkit":      {"", "internal/migration", "internal/notes"},
	"internal/chaos":          {},
	"internal/dbtest":         {},
	"internal/drivertest":     {""},
	"internal/enginetest":     {},
	"examples/hello":          {"", "connector/csvfile", "connector/sqltable", "dataflowsqlite"},
	"examples/service":        {"", "connector/pgtable", "dataflowpgx"},
	"examples/quickstart":     {"", "connector/csvfile", "connector/pgtable", "connector/sqltable", "dataflowpgx", "dataflowsqlite"},
	"dataflowhttp":            {"", "internal/jsonview", "internal/mask"},
	"dataflowui":              {"", "dataflowhttp", "internal/jsonview"},
	"examples/dashboard":      {"", "connector/memory", "dataflowhttp", "dataflowsqlite", "dataflowui"},
	"dataflowtest":            {"", "dataflowsqlite"},
	"internal/pools":          {},
	"internal/wake":           {},
	"internal/schedule":       {},
	"internal/stored":         {},
	"internal/zonedata":       {},
	"scripts":                 {}, // tests of release.sh
	"examples":                {}, // tests that run those below
	"examples/backfill":       {"", "connector/pgtable", "dataflowpgx"},
	"examples/connector":      {"", "dataflowsqlite"},
	"examples/databases":      {"", "connector/pgtable", "dataflowpgx"},
	"examples/heartbeat":      {"", "connector/sqltable", "dataflowhttp", "dataflowsqlite"},
	"examples/httpapi":        {"", "connector/httpjson", "connector/pgtable", "dataflowpgx"},
	"examples/kill":           {"", "connector/pgtable", "dataflowpgx"},
	"examples/river":          {"", "connector/memory", "connector/pgtable", "dataflowpgx"},
	"examples/transaction":    {"", "connector/pgtable", "dataflowpgx"},
	"examples/upsert":         {"", "connector/pgtable", "dataflowpgx"},
	"examples/schedules":      {"", "connector/memory", "dataflowhttp", "dataflowsqlite"},
	"internal/week":           {},
	"cmd/dataflow":            {"dataflowcli"},
	"dataflowcli":             {"", "internal/cli"},
	"internal/cli":            {"", "connector/csvfile", "dataflowpgx", "dataflowsqlite", "internal/csvguess", "internal/jsonview", "internal/notes", "internal/pooler", "internal/sqlstate"},
	"internal/csvguess":       {},
	"internal/jsonview":       {""},
	"internal/mask":           {},
}

// forbidden are the packages from elsewhere that a package must not depend on,
// even through others. A pattern's "/..." stands for what is below it.
var forbidden = map[string][]string{
	"":                   {"database/sql", "net/http", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/...", "github.com/spf13/..."},
	"dataflowhttp":       {"database/sql", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"dataflowui":         {"database/sql", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"dataflowtest":       {"testing", "github.com/stretchr/..."},
	"dataflowcli":        {"testing", "modernc.org/...", "github.com/stretchr/..."},
	"dataflowpgx":        {"testing", "modernc.org/...", "github.com/stretchr/...", "github.com/riverqueue/river/riverdriver/riversqlite"},
	"dataflowsqlite":     {"testing", "modernc.org/...", "github.com/jackc/...", "github.com/stretchr/..."},
	"internal/driverkit": {"testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/...", "github.com/riverqueue/river/riverdriver/riversqlite"},
	"internal/schedule":  {"database/sql", "net/http", "testing", "github.com/jackc/...", "github.com/riverqueue/...", "modernc.org/...", "github.com/stretchr/..."},
	"internal/stored":    {"database/sql", "net/http", "testing", "github.com/jackc/...", "github.com/riverqueue/...", "modernc.org/...", "github.com/stretchr/..."},
	"connector/httpjson": {"database/sql", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"connector/jsonrpc":  {"database/sql", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"connector/jsonl":    {"database/sql", "net/http", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"internal/cli":       {"testing", "modernc.org/...", "github.com/stretchr/..."},
	"connector/csvfile":  {"database/sql", "net/http", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"connector/memory":   {"database/sql", "net/http", "testing", "github.com/jackc/...", "modernc.org/...", "github.com/stretchr/..."},
	"connector/pgtable":  {"testing", "modernc.org/...", "github.com/stretchr/..."},
	"connector/sqltable": {"testing", "modernc.org/...", "github.com/jackc/...", "github.com/stretchr/..."},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestArrows(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed, known := arrows[name]
		require.True(t, known, "package %q has no place in the house: add it to arrows, and to ARCHITECTURE.md", name)
		for _, imported := range p.Imports {
			if imported != module && !strings.HasPrefix(imported, module+"/") {
				continue
			}
			imported = strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			require.Contains(t, allowed, imported, "%q must not import %q: move code, not the arrow", name, imported)
		}
		for _, dep := range p.Deps {
			for _, pattern := range forbidden[name] {
				require.False(t, matches(pattern, dep), "%q must not depend on %s", name, dep)
			}
		}
	}
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	}
	return path == pattern
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	require.NoError(t, err)
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.True(t, slices.ContainsFunc(all, func(p goPackage) bool { return p.ImportPath == module }))
	return all
}

// elsewhere are the calls without an Example of their own, and the Example that shows them.
var elsewhere = map[string]string{
	"Client.AddWorker":  "UseRiver",
	"Client.DeadLetter": "Client.EditDeadLetter",
	"FailFast":          "Policy",
	"RiverClient":       "JobQueue",
}

// noExample are the calls without any Example, and why.
var noExample = map[string]string{
	"Client.RegistrationErrors": "it is empty unless the database fails",
	"WrapRiver":                 "it is for driver packages",
}

// Every call of a Client and every function of the package has an Example, so that the
// package's documentation shows a use of it.
func TestExamples(t *testing.T) {
	t.Parallel()
	code, examples := parseFuncs(t, false), parseFuncs(t, true)
	shown := func(call, example string) bool {
		decl := examples["Example"+strings.ReplaceAll(example, ".", "_")]
		return decl != nil && slices.Contains(names(decl.Body), call[strings.LastIndex(call, ".")+1:])
	}
	for call := range code {
		where := call
		if example, ok := elsewhere[call]; ok {
			where = example
		}
		if noExample[call] == "" {
			require.True(t, shown(call, where), "no Example calls %s: write Example%s", call, strings.ReplaceAll(where, ".", "_"))
		}
	}
	require.Contains(t, code, "Client.Why")
	require.Contains(t, code, "NewFlow")
	for call := range elsewhere {
		require.Contains(t, code, call)
	}
	for call := range noExample {
		require.Contains(t, code, call)
	}
}

// parseFuncs returns the exported functions of this package's files, or of its tests, and
// the exported methods of Client.
func parseFuncs(t *testing.T, tests bool) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	funcs := map[string]*ast.FuncDecl{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			switch {
			case !ok || !f.Name.IsExported():
			case f.Recv == nil:
				funcs[f.Name.Name] = f
			case slices.Contains(names(f.Recv.List[0].Type), "Client"):
				funcs["Client."+f.Name.Name] = f
			}
		}
	}
	return funcs
}

// names are the identifiers in a node.
func names(node ast.Node) (all []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			all = append(all, id.Name)
		}
		return true
	})
	return all
}
