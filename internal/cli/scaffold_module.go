package cli

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// moduleRoot returns the folder of the go.mod in dir or above it, or "".
func moduleRoot(dir string) string {
	for at := absolute(dir); ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "go.mod")); err == nil && !info.IsDir() {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

func absolute(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	return abs
}

// isOurs reports whether init wrote a module.
func isOurs(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "hello_flow.go"))
	return err == nil
}

// packageOf returns the package of a folder's Go files, or the package for its first file.
func packageOf(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly); err == nil {
			return f.Name.Name
		}
	}
	name := strings.ReplaceAll(dirName(dir), "-", "")
	if token.IsKeyword(name) {
		return name + "flows"
	}
	return name
}

var release = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)

// ownVersion is the release of dataflow in this program, or "".
func ownVersion() string {
	info, known := debug.ReadBuildInfo()
	if !known {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == root && m.Replace == nil && release.MatchString(m.Version) {
			return m.Version
		}
	}
	return ""
}

// goVersion is the language version of the Go release that built this program.
func goVersion() string {
	version := strings.TrimPrefix(runtime.Version(), "go")
	if parts := strings.SplitN(version, ".", 3); len(parts) >= 2 {
		return parts[0] + "." + parts[1]
	}
	return "1.26"
}
