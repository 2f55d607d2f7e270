// Package cli is what the two programs share of a command line: exit codes,
// flags for the configuration, version, the drain on a signal.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

// The exit codes.
const (
	// ExitOK: done.
	ExitOK = 0
	// ExitFailed: it did not work, or what was checked is not as it should be.
	ExitFailed = 1
	// ExitUsage: the command line or the configuration is wrong.
	ExitUsage = 2
)

// ExitCodes is the text for the help of every program.
const ExitCodes = `Exit codes:
  0  done
  1  it failed, or what was checked is not as it should be
  2  the command line or the configuration is wrong`

// UsageError marks an error of the caller.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Detailed is the name of the flag with which ExitUsage means that something will
// happen. An error of the caller is then ExitFailed.
const Detailed = "detailed-exitcode"

// ErrHappens makes a command end with the code 2 of [Detailed] and no message.
var ErrHappens = errors.New("something will happen soon")

// ownCode returns the exit code of an error that has one of its own, and whether there is
// one.
func ownCode(cmd *cobra.Command, err error) (int, bool) {
	if errors.Is(err, ErrHappens) {
		return ExitUsage, true
	}
	f := cmd.Flags().Lookup(Detailed)
	return ExitFailed, f != nil && f.Changed
}

// Execute runs a command until it is done, or until SIGINT or SIGTERM asks it
// to drain. A second signal ends the process at once. It returns the exit code.
func Execute(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its usual effect
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = Version()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return UsageError{err} })
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	if own, ok := ownCode(cmd, err); ok {
		if own == ExitFailed {
			fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
		}
		return own
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(root.ErrOrStderr(), problems) // each begins with its file and line, for editors
		return ExitUsage
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
	if _, ok := errors.AsType[UsageError](err); ok || cmd == root {
		fmt.Fprintf(root.ErrOrStderr(), "See '%s --help'.\n", cmd.CommandPath())
		return ExitUsage
	}
	return ExitFailed
}

// Exactly demands as many arguments as the command's usage line shows. Any other
// number is an error that counts as usage and repeats that line.
func Exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return UsageError{fmt.Errorf("%s; want: %s", given(len(args)), cmd.UseLine())}
		}
		return nil
	}
}

// AtLeastOne demands one argument or more.
func AtLeastOne(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return UsageError{fmt.Errorf("%s; want: %s", given(0), cmd.UseLine())}
	}
	return nil
}

func given(n int) string {
	switch n {
	case 0:
		return "an argument is missing"
	case 1:
		return "one argument is given"
	default:
		return fmt.Sprintf("%d arguments are given", n)
	}
}

// Group makes of cmd a command that only has others below it: alone it shows its
// help, and a name that it does not have is an error that offers those it has.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		if like := likely(cmd, args[0]); len(like) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(like, " or "))
		}
		return UsageError{err}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// likely returns the commands below cmd that may be meant by a word: those that other
// tools call so, else those that are written alike. A word of three letters is like one
// of which a letter differs.
func likely(cmd *cobra.Command, word string) []string {
	var out []string
	for _, c := range cmd.Commands() {
		if slices.Contains(c.SuggestFor, strings.ToLower(word)) {
			out = append(out, c.Name())
		}
	}
	if len(out) > 0 {
		return out
	}
	cmd.SuggestionsMinimumDistance = min(2, max(1, len(word)/2))
	return cmd.SuggestionsFor(word)
}

// ConfigFlag adds --config to a command and returns where it will be.
func ConfigFlag(cmd *cobra.Command) *string {
	path := cmd.PersistentFlags().StringP("config", "c", os.Getenv("ROTATOR_CONFIG"), "configuration file; $ROTATOR_CONFIG")
	_ = cmd.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only for a flag that is not there
	return path
}

// Load reads the configuration and prints its warnings.
func Load(cmd *cobra.Command, path string) (*config.Config, error) {
	if path == "" {
		return nil, UsageError{errors.New("which configuration? Give --config FILE or set ROTATOR_CONFIG; 'rotator config schema' describes the file")}
	}
	cfg, err := config.Load(path, os.Environ())
	if _, ok := errors.AsType[config.Problems](err); err != nil && !ok {
		return nil, UsageError{err} // there is no such file
	}
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	return cfg, nil
}

// Telemetry sets up logs, metrics and traces for a program that runs.
func Telemetry(ctx context.Context, name string, cfg *config.Config) (*telemetry.Telemetry, error) {
	t, err := telemetry.Setup(ctx, telemetry.Options{Service: name, Version: Version(), LogLevel: cfg.Log.Level, LogFormat: cfg.Log.Format})
	if err != nil {
		return nil, err
	}
	t.SetGlobal()
	return t, nil
}

// PrintJSON prints v as indented JSON.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// version is set by the linker in released builds.
var version string

// Version returns the version of the program: the released one, else that of
// the module or of the commit it was built from.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(len(s.Value), 12)]
		}
	}
	return "devel"
}
