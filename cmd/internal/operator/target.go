package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// TargetReport is what was found about the target of one secret.
type TargetReport struct {
	SecretID secret.ID `json:"secret_id"`
	// Ready is whether a rotation can be applied.
	Ready bool `json:"ready"`
	target.Report
	// Error is why nothing could be found out, "" if that worked.
	Error string `json:"error,omitempty"`
}

// CheckTarget looks at a target of the configuration for each secret that has it. It
// changes nothing. The error wraps nothing that was found.
func (o *Operator) CheckTarget(ctx context.Context, name string) ([]TargetReport, error) {
	var specs []secret.ID
	for _, s := range o.Config.Secrets {
		if s.Target.Name == name {
			specs = append(specs, secret.ID(s.ID))
		}
	}
	if err := o.knownTarget(name, len(specs)); err != nil {
		return nil, err
	}
	stores, err := o.Stores(ctx)
	if err != nil {
		return nil, err
	}
	targets := wire.NewTargets(o.Config, stores.Catalog, stores.Set)
	out := make([]TargetReport, len(specs))
	for i, id := range specs {
		out[i], err = checkTarget(ctx, targets, stores.Catalog, id)
		if err != nil {
			return nil, errors.Join(err, stores.Close())
		}
	}
	return out, stores.Close()
}

func (o *Operator) knownTarget(name string, secrets int) error {
	if _, ok := o.Config.Targets[name]; !ok {
		err := fmt.Errorf("%s has no target %q", o.path, name)
		if like, ok := config.Suggest(name, slices.Collect(maps.Keys(o.Config.Targets))); ok {
			err = fmt.Errorf("%w; did you mean %s?", err, like)
		}
		return cli.UsageError{Err: err}
	}
	if secrets == 0 {
		return cli.UsageError{Err: fmt.Errorf("no secret has the target %s; give one target: {name: %s, user: …}", name, name)}
	}
	return nil
}

func checkTarget(ctx context.Context, targets *wire.Targets, known *catalog.Catalog, id secret.ID) (TargetReport, error) {
	e, err := known.Find(ctx, id)
	if err != nil {
		return TargetReport{}, err
	}
	t, err := targets.For(ctx, e.Spec)
	if err != nil {
		return TargetReport{}, err
	}
	out := TargetReport{SecretID: id}
	c, ok := t.(target.Checker)
	if !ok {
		out.Error = "a target of this type cannot be looked at in advance"
		return out, nil
	}
	if out.Report, err = c.Check(ctx); err != nil {
		out.Error = err.Error()
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue) {
			out.Error += "; bring it in with 'rotator import ID'"
		}
	}
	out.Ready = err == nil && out.Report.Ready()
	return out, nil
}

// NotReady returns an error that counts the secrets whose target is not ready, nil for
// none.
func NotReady(all []TargetReport) error {
	n := 0
	for _, r := range all {
		if !r.Ready {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d secrets cannot be rotated at the target", n, len(all))
}

// PrintTargets prints what was found.
func PrintTargets(w io.Writer, all []TargetReport) error {
	var failed error
	for _, r := range all {
		verdict := "ready"
		if !r.Ready {
			verdict = "not ready"
		}
		printed := func(_ int, err error) { failed = cmp.Or(failed, err) }
		printed(fmt.Fprintf(w, "%s: %s\n", r.SecretID, verdict))
		if r.Server != "" {
			printed(fmt.Fprintf(w, "  server: %s, as %s\n", r.Server, r.Admin))
		}
		for _, part := range []struct {
			title string
			lines []string
		}{
			{"it could not look", nonEmpty(r.Error)}, {"a rotation does", r.Plan}, {"the admin lacks", r.Missing}, {"services would break", r.Traps},
			{"to know", r.Notes}, {"run this once as a superuser", r.Setup},
		} {
			if len(part.lines) > 0 {
				printed(fmt.Fprintf(w, "  %s:\n", part.title))
			}
			for _, line := range part.lines {
				printed(fmt.Fprintf(w, "    %s\n", line))
			}
		}
	}
	return failed
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
