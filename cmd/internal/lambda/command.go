package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// rotated is the answer to the command rotate.
type rotated struct {
	SecretID secret.ID        `json:"secret_id"`
	From     secret.VersionID `json:"previous_version_id,omitempty"`
	To       secret.VersionID `json:"version_id"`
	Outcome  rotation.Outcome `json:"outcome"`
}

func (f *Function) command(ctx context.Context, c Command) (any, error) {
	var answer any
	var err error
	if c.Action == ActionRotate {
		answer, err = f.rotate(ctx, c.SecretID)
	} else {
		answer, err = f.look(ctx, c)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Action, err)
		f.log.LogAttrs(ctx, slog.LevelError, "lambda.command_failed", slog.String("action", c.Action), slog.String("error", err.Error()))
		return nil, err
	}
	return answer, nil
}

// errExternal refuses to write a value to a secret whose rotation function may
// be another one.
var errExternal = errors.New("its strategy is external: AWS rotates it, start that with aws secretsmanager rotate-secret")

// errUnlisted refuses to replace the value of a secret of which the configuration says
// nothing. Otherwise the right to invoke the function would be the right to replace
// every secret that its role may write.
var errUnlisted = errors.New("the configuration neither lists nor discovers it; list it, or set lambda.allow_unlisted")

// rotate takes a secret to its next version at once, as a worker does.
func (f *Function) rotate(ctx context.Context, name string) (any, error) {
	t, err := f.secrets.locateCommand(ctx, name)
	if err != nil {
		return nil, err
	}
	meta, err := t.read(ctx)
	q, err := rotation.Manual(time.Now(), "", t.spec, meta, err)
	if err != nil {
		return nil, err
	}
	if !t.listed && !t.found && !f.o.Config.Lambda.AllowUnlisted {
		return nil, errUnlisted
	}
	if t.spec.Strategy == secret.StrategyExternal {
		return nil, errExternal
	}
	rot, err := f.rotator(t)
	if err != nil {
		return nil, err
	}
	out, err := persist(ctx, rot, rotation.Try{Request: q})
	if err != nil {
		return nil, err
	}
	if out != rotation.OutcomeRotated && out != rotation.OutcomeFinished {
		return nil, ErrSuperseded
	}
	after, err := t.read(ctx)
	return rotated{SecretID: t.spec.ID, From: q.From, To: after.Current().ID, Outcome: out}, err
}

// look shows secrets as they are: plan by what the store says, status by what
// the bus says as well.
func (f *Function) look(ctx context.Context, c Command) (any, error) {
	names := c.SecretIDs
	if len(names) == 0 {
		for _, id := range f.secrets.listed() {
			names = append(names, string(id))
		}
	}
	view, err := f.view(ctx, c.Action)
	if err != nil {
		return nil, err
	}
	out := make([]inspect.Secret, 0, len(names))
	for _, name := range names {
		t, err := f.secrets.locateCommand(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, name)
		}
		meta, err := t.read(ctx)
		s := view.Secret(ctx, t.entry(t.spec), meta, err)
		if c.Action == ActionPlan {
			inspect.Shape(ctx, t.acct.store, t.entry(t.spec), &s)
		}
		out = append(out, s)
	}
	return out, nil
}

// view returns how secrets are shown: for status with what the bus says of them,
// if there is one.
func (f *Function) view(ctx context.Context, action string) (*inspect.View, error) {
	if action != ActionStatus || f.o.Config.SingleNode() {
		return inspect.NewView(nil), nil
	}
	bus, err := f.link.bus(ctx)
	if err != nil {
		return nil, err
	}
	return inspect.NewView(bus), nil
}
