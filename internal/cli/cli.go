// Package cli is the command line of cmd/dataflow, which has no flows, and of the programs
// with flows that use package dataflowcli.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// Program is a program that has this command line.
type Program struct {
	// Name is the name of the program. Empty: the name of its file.
	Name string
	// DefaultURL is used if DATABASE_URL is not set. Empty: DATABASE_URL must be set.
	DefaultURL string
	// Configure returns the program's flows and other settings. Nil: it has no flows.
	Configure func(ctx context.Context, db Database) (*dataflow.Config, error)
	// Migrate makes the program's own tables. Nil: it has none.
	Migrate func(ctx context.Context, db Database) error
}

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(name string) string
	// Ask is true if In is a terminal, where somebody can answer a question.
	Ask bool
	// Live is true if Out is a terminal, and LiveErr if Err is one.
	Live, LiveErr bool
	// Now is the time of this machine.
	Now func() time.Time
}

// Main runs a command on the streams of this process, and returns its exit code. SIGINT,
// SIGTERM and SIGHUP end the command in good order.
func Main(ctx context.Context, args []string, p Program) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// With this, a write to a closed pipe is an error. By default it would end the process,
	// which may be working a run.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	return Run(ctx, args, p, Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv,
		Ask: isTerminal(os.Stdin), Live: isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb", LiveErr: isTerminal(os.Stderr) && os.Getenv("TERM") != "dumb",
		Now: time.Now, //nolint:forbidigo // the one place that reads this machine's clock
	})
}

// isTerminal reports whether a file is a character device other than os.DevNull. Cron and others
// start commands with os.DevNull as their input.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// Run runs a command and returns its exit code.
func Run(ctx context.Context, args []string, p Program, s Streams) int {
	if p.Name == "" {
		p.Name = filepath.Base(os.Args[0])
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &pipe{w: s.Out, cancel: cancel}
	s.Out = out
	a := &app{program: p, Streams: s}
	root := a.command() //nolint:contextcheck // each command gets it by ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || out.err != nil && errors.Is(err, out.err) {
		err = out.failure()
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.Err, "%s: %s\n", p.Name, clean(a.redact(withoutCall(message(sqlstate.Explain(err)))))+a.whatIs(err))
	}
	return exitCode(err)
}

// whatIs names the command that lists what there is, after an error about what is not there.
func (a *app) whatIs(err error) string {
	if !errors.Is(err, dataflow.ErrNotFound) {
		return ""
	}
	of := notThere.FindStringSubmatch(withoutCall(err.Error()))
	if of != nil && of[1] == "flow" && slices.ContainsFunc(a.declared, func(f *dataflow.Flow) bool { return strconv.Quote(f.Name) == of[2] }) {
		return ": this program has it, and has not registered it: run " + a.program.Name + " migrate up"
	}
	if of != nil {
		return ": see " + a.program.Name + " " + strings.ReplaceAll(of[1], " ", "-") + " list"
	}
	return ""
}

// withoutCall leaves out which function a program is to call for a flow that is not stored yet: here it is a command.
func withoutCall(text string) string {
	return strings.TrimSuffix(text, ": this client has its code, and stores it with Start or Register: call one of them first")
}

// notThere matches the end of an error about what is not there.
var notThere = regexp.MustCompile(`(flow|run|dead letter) ("[^"]*"|\d+): not found$`)

// didYouMean names the command whose name is almost the given one.
func didYouMean(cmd *cobra.Command, given string) string {
	cmd.SuggestionsMinimumDistance = 2
	if names := cmd.SuggestionsFor(given); len(names) > 0 {
		return "did you mean " + strings.Join(names, " or ") + "? Else "
	}
	return ""
}

// pipe cancels the command when its output can no longer be written.
type pipe struct {
	w      io.Writer
	cancel context.CancelCauseFunc
	err    error
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if err != nil && p.err == nil {
		p.err = err
		p.cancel(errUnwritten)
	}
	return n, err
}

// failure is the error of a command that did everything but write its output. It is nil if
// the reader closed the pipe, as head does once it has read enough.
func (p *pipe) failure() error {
	if p.err == nil || errors.Is(p.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("%w: %w", errUnwritten, p.err)
}

// app is one execution of the program.
type app struct {
	Streams
	program  Program
	secrets  []string
	declared []*dataflow.Flow // by the program, once it is configured

	format  string
	schema  string
	verbose bool
	quiet   bool
	yes     bool
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   a.program.Name,
		Short: "Look after data flows",
		Long: `Look after data flows: see what they do and why one does not run, and start, stop and
repair their runs.

DATABASE_URL names the database: postgres://user:password@host/name, or the path of a
SQLite file, with or without the prefix "sqlite:".

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by state, 5 database.`,
		Version:           programVersion(debug.ReadBuildInfo()) + "; " + programVersions(),
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFormat() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetIn(a.In)
	root.SetOut(a.Out) // before the completion command is made, because that keeps it
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.format, "output", "o", "table", "what to write: table or json")
	flags.StringVar(&a.schema, "schema", "", "the Postgres schema of the tables")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "write log lines to standard error")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "do not show the progress of long work")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		a.initCommand(), a.newCommand(), a.migrateCommand(),
		a.statusCommand(), a.flowCommand(), a.runCommand(), a.cursorCommand(), a.deadLetterCommand(), a.scheduleCommand(),
		a.enqueueCommand(), a.enqueueAllCommand(), a.backfillCommand(), a.previewCommand(), a.runDueCommand(),
		a.migrateRuntimeCommand(), a.cleanupCommand(), a.auditCommand(), a.doctorCommand(),
	)
	if a.program.Configure != nil {
		root.AddCommand(a.workCommand())
	}
	a.example(root, "status", "flow why orders", "run list --flow orders --state failed -o json")
	root.SetHelpCommand(a.helpCommand(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	a.completionExamples(root)
	finish(root)
	return root
}

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return a.example(&cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command", Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage("unknown command %q: see %s --help", strings.Join(args, " "), a.program.Name)
			}
			return cmd.Help()
		},
	}, "help flow why")
}

// finish turns every error in a command line into a usageError. A command that only has
// subcommands prints its help.
func finish(cmd *cobra.Command) {
	args := cmd.Args
	if !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		switch {
		case args == nil:
			return nil
		case cmd.HasSubCommands() && len(given) > 0:
			return usage("unknown command %q: %ssee %s --help", given[0], didYouMean(cmd, given[0]), cmd.CommandPath())
		}
		if err := args(cmd, given); err != nil {
			return usage("%s takes %s, and %s: see %s --help", cmd.CommandPath(), taken(cmd), were(given), cmd.CommandPath())
		}
		return nil
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v: see %s --help", err, cmd.CommandPath())
	})
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

// taken is what a command takes, such as NAME.
func taken(cmd *cobra.Command) string {
	if _, what, ok := strings.Cut(cmd.Use, " "); ok {
		return what
	}
	return "no argument"
}

// were says which arguments were given.
func were(given []string) string {
	if len(given) == 0 {
		return "none was given"
	}
	quoted := make([]string, len(given))
	for i, arg := range given {
		quoted[i] = strconv.Quote(arg)
	}
	return "this was given: " + strings.Join(quoted, " ")
}

// group is a command that only has subcommands.
func (a *app) group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	cmd.AddCommand(subs...)
	return cmd
}

// example adds examples to a command, each without the program's name.
func (a *app) example(cmd *cobra.Command, lines ...string) *cobra.Command {
	for i, line := range lines {
		if i > 0 {
			cmd.Example += "\n"
		}
		cmd.Example += "  " + a.program.Name + " " + line
	}
	return cmd
}

// confirmable adds --yes to a command that destroys.
func (a *app) confirmable(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "do it without asking")
	return cmd
}

func (a *app) checkFormat() error {
	if a.format != "table" && a.format != "json" {
		return usage("output %q is not known: use table or json", a.format)
	}
	return nil
}

// logger writes the library's log lines, without secrets. It is silent by default, because a
// command reports its result itself. The command work is an exception.
func (a *app) logger(on bool) *slog.Logger {
	if !on && !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(redacted{a}, nil))
}

// redacted is standard error without secrets.
type redacted struct{ a *app }

func (r redacted) Write(b []byte) (int, error) {
	if _, err := io.WriteString(r.a.Err, r.a.redact(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// note writes a line to standard error.
func (a *app) note(text string) { _, _ = fmt.Fprintln(a.Err, clean(a.redact(text))) }
