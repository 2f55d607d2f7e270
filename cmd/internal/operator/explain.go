package operator

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Explain returns the page about a secret, where the configuration at path runs.
func Explain(cmd *cobra.Command, path, arg string) (inspect.Page, error) {
	r, err := OpenReader(cmd, path)
	if err != nil {
		return inspect.Page{}, err
	}
	defer r.Close()
	all, err := r.Secrets(cmd.Context(), []string{arg})
	if err != nil {
		return inspect.Page{}, err
	}
	id := secret.ID(arg)
	last, err := r.parts.Bus.Last(cmd.Context(), events.TypeRotated, id)
	if err != nil {
		return inspect.Page{}, err
	}
	acts, err := r.parts.Bus.TrustedActs(cmd.Context(), id)
	if err != nil {
		return inspect.Page{}, err
	}
	acts = slices.DeleteFunc(acts, func(a events.Act) bool { return a.Kind == events.ActRead })
	return inspect.Explain(time.Now(), all[0], last, acts), nil
}
