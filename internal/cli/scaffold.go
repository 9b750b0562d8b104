package cli

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:embed template/*.tmpl
var templates embed.FS

// scaffold holds the values for the templates.
type scaffold struct {
	Module  string
	Go      string // the language version
	Version string // the version of dataflow; empty if this program is not a release
	Program string
	Package string
	Flow    scaffoldFlow
}

type scaffoldFlow struct{ Name, Upper, Lower, Table string }

func newScaffoldFlow(name string) scaffoldFlow {
	return scaffoldFlow{Name: name, Upper: camel(name), Lower: lowerCamel(name), Table: snake(name) + "_row"}
}

// files are the files to write, by their paths.
type files struct {
	dir   string
	names []string
	texts map[string][]byte
}

// add adds a file made from a template.
func (f *files) add(name, from string, s *scaffold) error {
	t, err := template.ParseFS(templates, "template/"+from+".tmpl")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return err
	}
	if f.texts == nil {
		f.texts = make(map[string][]byte)
	}
	f.names = append(f.names, name)
	f.texts[name] = b.Bytes()
	return nil
}

// write writes the files. Without force it writes none if one of them exists.
func (f *files) write(force bool) error {
	var there []string
	for _, name := range f.names {
		info, err := os.Lstat(filepath.Join(f.dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			return refused("%s is a directory", filepath.Join(f.dir, name))
		default:
			there = append(there, filepath.Join(f.dir, name))
		}
	}
	if len(there) > 0 && !force {
		verb, object := "exists", "it"
		if len(there) > 1 {
			verb, object = "exist", "them"
		}
		return refused("%s already %s, and nothing was written: use --force to overwrite %s", strings.Join(there, ", "), verb, object)
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	for _, name := range f.names {
		path := filepath.Join(f.dir, name)
		if force {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := writeNew(path, f.texts[name]); err != nil {
			return err
		}
	}
	return nil
}

// writeNew writes a new file. It fails if the file exists by now.
func writeNew(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// scaffoldView lists the files written and the next steps, as JSON.
type scaffoldView struct {
	Files []string `json:"files"`
	Next  []string `json:"next"`
}

func (a *app) written(f *files, next ...string) error {
	view := scaffoldView{Next: next}
	for _, name := range f.names {
		view.Files = append(view.Files, filepath.ToSlash(filepath.Join(f.dir, name)))
	}
	return a.show(view, func(p *page) {
		for _, name := range view.Files {
			p.line("wrote %s", name)
		}
		p.line("\nNext:")
		for _, step := range next {
			p.line("  %s", step)
		}
	})
}

func (a *app) initCommand() *cobra.Command {
	var dir, module string
	var force bool
	cmd := &cobra.Command{
		Use: "init", Short: "Write a program with a flow, or add one to an existing module", Args: cobra.NoArgs,
		Long: `Write a program that has a flow, its test, and this command line. In a folder without a
go.mod it becomes a module of its own. In an existing module it is written to cmd/flows, and
nothing else is changed.`,
		RunE: func(*cobra.Command, []string) error { return a.init(dir, module, force) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the folder (default: this one, or cmd/flows in a module)")
	cmd.Flags().StringVar(&module, "module", "", "the path of the new module (default: the name of the folder)")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite existing files")
	return a.example(cmd, "init", "init --module example.com/shop")
}

func (a *app) init(dir, module string, force bool) error {
	at := "."
	if dir != "" {
		at = dir
	}
	s := &scaffold{Go: goVersion(), Version: ownVersion(), Package: "main", Flow: newScaffoldFlow("hello")}
	f := &files{dir: at}
	inModule := moduleRoot(at) != ""
	if moduleRoot(at) == absolute(at) && isOurs(at) {
		inModule = false // an earlier init made this module
	}
	steps := []string{"go mod tidy"}
	if inModule {
		if module != "" {
			return usage("--module names a new module, but this folder is in a module already: leave it out")
		}
		if dir == "" {
			f.dir = filepath.Join("cmd", "flows")
		}
	} else {
		s.Module = module
		if module == "" {
			s.Module = dirName(at)
		}
		if err := checkModule(s.Module); err != nil {
			return err
		}
		if err := f.add("go.mod", "go.mod", s); err != nil {
			return err
		}
	}
	if s.Version == "" || inModule {
		steps = []string{"go get github.com/activedataflow/dataflow@latest", "go mod tidy"}
	}
	s.Program = dirName(f.dir)
	if err := errors.Join(f.add("main.go", "main.go", s), addFlow(f, s)); err != nil {
		return err
	}
	if err := f.write(force); err != nil {
		return err
	}
	if f.dir != "." {
		steps = append(steps, "cd "+quoted(f.dir))
	}
	return a.written(f, append(steps, "go test .", "go run . migrate up", "go run . enqueue hello --wait", "go run . work")...)
}

// addFlow adds a flow and its test.
func addFlow(f *files, s *scaffold) error {
	base := snake(s.Flow.Name) + "_flow"
	return errors.Join(f.add(base+".go", "flow.go", s), f.add(base+"_test.go", "flow_test.go", s))
}

func (a *app) newCommand() *cobra.Command {
	var dir string
	var force bool
	flow := &cobra.Command{
		Use: "flow NAME", Short: "Write a flow with source, transform, sink and test", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.newFlow(dir, args[0], force) },
	}
	flow.Flags().StringVar(&dir, "dir", ".", "the folder, which must be in a module")
	flow.Flags().BoolVar(&force, "force", false, "overwrite existing files")
	return a.example(a.group("new", "Write code", a.example(flow, "new flow daily-orders")), "new flow daily-orders")
}

// declaring finds a Go file in dir, other than own, that contains text.
func declaring(dir, text, own string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go")) // the only error is a bad pattern
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && filepath.Base(file) != own && strings.Contains(string(content), text) {
			return file
		}
	}
	return ""
}

func (a *app) newFlow(dir, name string, force bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	if moduleRoot(dir) == "" {
		return refused("there is no go.mod in %s or above: run %s init first", absolute(dir), a.program.Name)
	}
	s := &scaffold{Package: packageOf(dir), Flow: newScaffoldFlow(name)}
	if file := declaring(dir, "func new"+s.Flow.Upper+"(", snake(name)+"_flow.go"); file != "" && !force {
		return refused("%s already declares new%s, for a flow with nearly the same name: use another name", file, s.Flow.Upper)
	}
	f := &files{dir: dir}
	if err := addFlow(f, s); err != nil {
		return err
	}
	if err := f.write(force); err != nil {
		return err
	}
	target := fmt.Sprintf("insert[%sRow](db, %q)", s.Flow.Lower, s.Flow.Table)
	if declaring(dir, "func insert[", "") == "" { // only a program written by init has this function
		target = fmt.Sprintf("pgtable.Insert[%sRow](%q)", s.Flow.Lower, s.Flow.Table)
	}
	folder := dir
	if !filepath.IsAbs(dir) && !strings.HasPrefix(dir, ".") {
		folder = "./" + dir // without ./ go would look for a package of the standard library
	}
	return a.written(f,
		"go mod tidy",
		"go test "+quoted(folder),
		fmt.Sprintf("add new%s(%s) to the flows of your client, and %sTable to its migration", s.Flow.Upper, target, s.Flow.Lower),
	)
}
