package cli

import (
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// CompleteIDs offers the ids of the configuration, up to most of them; 0 is any
// number.
func CompleteIDs(path *string, most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if *path == "" || most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, err := config.Load(*path, os.Environ())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []cobra.Completion
		for _, s := range cfg.Secrets {
			ids = append(ids, s.ID)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteTargets offers the targets of the configuration, one of them.
func CompleteTargets(path *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if *path == "" || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, err := config.Load(*path, os.Environ())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.Sorted(maps.Keys(cfg.Targets)), cobra.ShellCompDirectiveNoFileComp
	}
}
