package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/store"
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
	ctx, cancel := context.WithTimeout(cmd.Context(), planReach)
	parts, busErr := o.connect(ctx)
	cancel()
	if busErr == nil {
		defer parts.Close()
		if err := o.programs(cmd.Context(), parts, cmd.ErrOrStderr()); err != nil {
			return Look{}, err
		}
		all, err := o.inspect(cmd.Context(), parts.Catalog, parts.Stores, parts.Bus, args, true)
		return Look{Secrets: all}, err
	}
	first := o.never()
	o.wire.Absent = fmt.Errorf("%w: it is on the bus, which was not reached", store.ErrUnavailable)
	if first {
		o.wire.Absent = store.ErrNotFound
	}
	stores, err := wire.OpenStores(cmd.Context(), o.wire)
	if err != nil {
		return Look{}, errors.Join(busErr, err)
	}
	defer stores.Close()
	all, err := o.inspect(cmd.Context(), stores.Catalog, stores.Set, nil, args, true)
	return Look{all, busErr, first}, err
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
