package cli

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// commit is set by the linker where the go command does not know the repository.
var commit string

// Build says from what the program was built. Its JSON form is the output of version.
type Build struct {
	Version string `json:"version"`
	// Commit is "" for a program that was built without the state of the repository.
	// Modified is true if files differed from it.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Time     string `json:"commit_time,omitempty"`
	Go       string `json:"go,omitempty"`
}

// ReadBuild returns what the program knows of its build.
func ReadBuild() Build {
	b := Build{Version: Version(), Commit: commit}
	if info, ok := debug.ReadBuildInfo(); ok {
		b = b.with(info)
	}
	return b
}

// with returns b with what the go command recorded.
func (b Build) with(info *debug.BuildInfo) Build {
	b.Go = info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String returns the version, and the commit where that is known.
func (b Build) String() string {
	var about []string
	if b.Commit != "" {
		about = append(about, "commit "+b.Commit)
	}
	if b.Modified {
		about = append(about, "modified")
	}
	if b.Go != "" {
		about = append(about, b.Go)
	}
	if len(about) == 0 {
		return b.Version
	}
	return fmt.Sprintf("%s (%s)", b.Version, strings.Join(about, ", "))
}

// VersionCommand returns the command that prints the version.
func VersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version, and the commit it was built from", Args: Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return PrintJSON(cmd.OutOrStdout(), ReadBuild())
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), ReadBuild())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}
