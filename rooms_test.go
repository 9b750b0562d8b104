package dataflow_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// rooms are the rooms of this package, the lowest first, with the files that are not named by
// their room. A file's room is the part of its name before the first "_". A room may use
// itself and the rooms before it. See doc.go for what each of them does.
var rooms = []struct {
	name  string
	files []string
}{
	{"words", []string{
		"base", "config", "doc", "driver", "errors", "event", "flow", "lists", "message", "policy", "records", "retry", "run", "runtime", "schedule",
		"sink", "source", "transform", "zonedata",
	}},
	{"gate", []string{"stop"}},
	{"flows", []string{"registry"}},
	{"jobs", []string{"jobs", "river"}},
	{"asking", []string{"start"}},
	{"connections", []string{"connections"}},
	{"attempt", []string{"attempt"}},
	{"loop", []string{"loop"}},
	{"executor", []string{"executor"}},
	{"keepers", []string{"callback", "cleaner", "job", "presence", "register", "rescue", "scheduler", "worker"}},
	{"client", []string{"client", "dataflow"}},
}

// upward are the uses of a higher room that the API itself asks for: who uses what, and why.
// The names are those of types and functions; a method or a field goes with its type.
var upward = []struct {
	from  []string
	names []string
	why   string
}{
	{[]string{"words"}, []string{"Flow", "request"}, "Execute of a Runtime, which is a plain value, asks for a run by the Flow that it is handed"},
	{[]string{"words"}, []string{"NewFlowExecutor", "FlowExecutor"}, "Execute of a Heartbeat works the run here and now"},
	{[]string{"words"}, []string{"newFlowCode", "attempt"}, "NewFlow hides the types T, C and Out behind an interface of the record loop"},
	{[]string{"words", "flows", "asking"}, []string{"Client"}, "a Flow holds the client that returned it"},
	{[]string{"executor", "keepers"}, []string{"Client"}, "FlowExecutor and DataFlowJob are made of a Client by their users"},
}

func TestRooms(t *testing.T) {
	t.Parallel()
	level := make(map[string]int)
	for i, r := range rooms {
		for _, file := range r.files {
			require.NotContains(t, level, file)
			level[file] = i
		}
	}
	fset, uses, owners := usesOfThisPackage(t)
	used := make(map[string]bool)
	roomOf := func(pos token.Pos) int {
		name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(fset.Position(pos).Filename), ".go"), "_")
		i, known := level[name]
		require.True(t, known, "%s.go is in no room: name it by its room, or add it to rooms", name)
		return i
	}
	found := make(map[string][]string)
	for ident, object := range uses {
		from, to := roomOf(ident.Pos()), roomOf(object.Pos())
		if from >= to {
			continue
		}
		name := nameOf(object, owners)
		what := rooms[from].name + " -> " + rooms[to].name + ": " + name
		if !allowed(rooms[from].name, name, used) {
			found[what] = append(found[what], fset.Position(ident.Pos()).String())
		}
	}
	for _, what := range slices.Sorted(maps.Keys(found)) {
		t.Errorf("%s, at %s: a room uses the rooms below it only: move the definition, or the use", what, found[what][0])
	}
	require.LessOrEqual(t, len(upward), 6)
	for _, u := range upward {
		require.NotEmpty(t, u.why)
		for _, name := range u.names {
			for _, from := range u.from {
				require.True(t, used[from+" "+name], "nobody in %s needs the exception for %s any more", from, name)
			}
		}
	}
}

// allowed reports whether an exception lets a room use a name, and notes that in used.
func allowed(from, name string, used map[string]bool) bool {
	for _, u := range upward {
		if slices.Contains(u.from, from) && slices.Contains(u.names, name) {
			used[from+" "+name] = true
			return true
		}
	}
	return false
}

// nameOf names an object, or the type that a method or a field belongs to.
func nameOf(object types.Object, owners map[types.Object]string) string {
	if f, ok := object.(*types.Func); ok {
		if recv := f.Signature().Recv(); recv != nil {
			t := types.TypeString(recv.Type(), func(*types.Package) string { return "" })
			name, _, _ := strings.Cut(strings.TrimPrefix(t, "*"), "[")
			return name
		}
	}
	if owner := owners[object]; owner != "" {
		return owner
	}
	return object.Name()
}

// ownersOf returns the types that fields belong to.
func ownersOf(pkg *types.Package) map[types.Object]string {
	owners := make(map[types.Object]string)
	for _, name := range pkg.Scope().Names() {
		s, ok := pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
		for i := 0; ok && i < s.NumFields(); i++ {
			owners[s.Field(i)] = name
		}
	}
	return owners
}

func TestHouse_Size(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	tests := slices.DeleteFunc(slices.Clone(files), func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	require.LessOrEqual(t, len(files), 85, "Go files in this folder: what knows nothing of flows belongs to internal")
	require.LessOrEqual(t, len(tests), 15, "test files in this folder: tests with a database belong to internal/enginetest")
	client := reflect.TypeFor[dataflow.Client]()
	require.LessOrEqual(t, client.NumField(), 10, "fields of Client: state belongs to a component")
	methods := 0
	for _, name := range files {
		code, err := os.ReadFile(name)
		require.NoError(t, err)
		methods += strings.Count(string(code), "\nfunc (c *Client) ")
	}
	require.Positive(t, methods)
	require.LessOrEqual(t, methods, 60, "methods of Client")
}

// usesOfThisPackage type-checks the package, and returns which identifiers stand for what it
// declares: functions, methods, types, fields, constants and variables of the package.
func usesOfThisPackage(t *testing.T) (*token.FileSet, map[*ast.Ident]types.Object, map[types.Object]string) {
	t.Helper()
	exports := exportFiles(t)
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}).Check(module, fset, files, info)
	require.NoError(t, err)
	uses := make(map[*ast.Ident]types.Object)
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		switch o := object.(type) { // of a generic type, what it was made of
		case *types.Func:
			object = o.Origin()
		case *types.Var:
			object = o.Origin()
		}
		_, isFunc := object.(*types.Func)
		v, isVar := object.(*types.Var)
		if isFunc || object.Parent() == pkg.Scope() || isVar && v.IsField() {
			uses[ident] = object
		}
	}
	require.Greater(t, len(uses), 3000)
	return fset, uses, ownersOf(pkg)
}

// exportFiles returns the files of the types that each package exports which this one needs.
func exportFiles(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export", ".").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	require.NoError(t, err)
	exports := make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct{ ImportPath, Export string }
		require.NoError(t, dec.Decode(&p))
		exports[p.ImportPath] = p.Export
	}
	return exports
}
