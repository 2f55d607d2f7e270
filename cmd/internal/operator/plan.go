package operator

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/pkg/inspect"
)

// planReach is how long a plan waits for the bus, which it can do without.
const planReach = 5 * time.Second

// Look is what plan and status know of secrets.
type Look struct {
	Secrets []inspect.Secret
	// Bus is why the bus was not reached, nil if it was. First is whether nothing has
	// run with the configuration on this machine.
	Bus   error
	First bool
}

// PlanSecrets reads the secrets with the given ids, or all, where the configuration at
// path runs, or from the stores alone where that is not reached.
func PlanSecrets(cmd *cobra.Command, path string, args []string) (Look, error) {
	o, err := New(cmd, path)
	if err != nil {
		return Look{}, err
	}
	r, err := o.Reach(cmd.Context())
	if err != nil {
		return Look{}, err
	}
	defer func() { _ = r.Close() }() // nothing was written
	if r.Bus == nil {
		if err := errors.Join(o.programs(cmd.Context(), r.Parts, cmd.ErrOrStderr()), listedOnce(cmd.Context(), r.Parts)); err != nil {
			return Look{}, err
		}
		all, err := o.inspect(cmd.Context(), r.Catalog, r.Stores, r.Parts.Bus, args, true)
		return Look{Secrets: all}, err
	}
	all, err := o.inspect(cmd.Context(), r.Catalog, r.Stores, nil, args, true)
	return Look{all, r.Bus, o.never()}, err
}

// never reports whether no single node has run with the configuration, so that its
// embedded stores are empty.
func (o *Operator) never() bool {
	if o.wire.Connect.NKeyFile == "" {
		return false
	}
	_, err := os.Stat(o.wire.Connect.NKeyFile)
	return errors.Is(err, os.ErrNotExist)
}
