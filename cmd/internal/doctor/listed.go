package doctor

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

const (
	// listAtATime is how many targets are asked at a time, and listTimeout for how long
	// each is waited for.
	listAtATime = 4
	listTimeout = 10 * time.Second
)

// Listed is what a target has for a secret.
type Listed struct {
	Secret secret.ID
	// Target is its name in the configuration.
	Target string
	// Known are the versions of the secret that are in use or may become so.
	Known       []secret.VersionID
	Credentials []target.Credential
	// Err is why it was not listed.
	Err error
}

// listed asks the targets of secrets for the credentials that they have. A secret whose
// versions are not known is left out, and so is a target that cannot list.
func (f *Facts) listed(ctx context.Context, r operator.Reached) {
	targets := wire.NewTargets(f.Config, r.Catalog, r.Stores)
	names := map[secret.ID]string{}
	for _, s := range f.Config.Secrets {
		names[secret.ID(s.ID)] = s.Target.Name
	}
	var g errgroup.Group
	g.SetLimit(listAtATime)
	all := make([]*Listed, len(f.Secrets))
	for i, s := range f.Secrets {
		if names[s.SecretID] == "" || s.Err != nil || s.VersionID == "" {
			continue
		}
		g.Go(func() error {
			all[i] = list(ctx, targets, s, names[s.SecretID])
			return nil
		})
	}
	_ = g.Wait() // it returns nothing
	for _, l := range all {
		if l != nil {
			f.Listed = append(f.Listed, *l)
		}
	}
}

// list asks the target of one secret. It returns nil for one that cannot list.
func list(ctx context.Context, targets *wire.Targets, s inspect.Secret, name string) *Listed {
	out := &Listed{Secret: s.SecretID, Target: name}
	for _, v := range s.Meta.Versions {
		if !v.Empty && v.Stage != secret.StageRetired {
			out.Known = append(out.Known, v.ID)
		}
	}
	t, err := targets.For(ctx, s.Spec)
	if err != nil {
		out.Err = err
		return out
	}
	l, ok := t.(target.Lister)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	out.Credentials, out.Err = l.List(ctx, out.Known)
	if errors.Is(out.Err, target.ErrUnsupported) {
		return nil
	}
	return out
}
