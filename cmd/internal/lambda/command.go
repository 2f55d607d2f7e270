package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/status"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
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

// rotate takes a secret to its next version at once, as a worker does.
func (f *Function) rotate(ctx context.Context, name string) (any, error) {
	t, err := f.secrets.locate(ctx, name)
	if err != nil {
		return nil, err
	}
	meta, err := t.read(ctx)
	if err != nil && (!errors.Is(err, store.ErrNotFound) || !t.spec.Create) {
		return nil, err
	}
	if t.spec.Strategy == secret.StrategyExternal {
		return nil, errExternal
	}
	rot, err := f.rotator(t)
	if err != nil {
		return nil, err
	}
	q := rotation.Request{Secret: t.spec.ID, Store: t.spec.Store, From: meta.Current().ID, Reason: events.ReasonManual, At: time.Now()}
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
	var bus status.Bus
	var reports []events.Report
	if c.Action == ActionStatus && !f.o.Config.SingleNode() {
		b, err := f.link.bus(ctx)
		if err != nil {
			return nil, err
		}
		if reports, err = b.Reports(ctx); err != nil {
			return nil, err
		}
		bus = b
	}
	out := make([]status.Secret, 0, len(names))
	for _, name := range names {
		t, err := f.secrets.locate(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, name)
		}
		out = append(out, t.look(ctx, bus, reports))
	}
	return out, nil
}

// look reads a secret and says what is known of it.
func (t *target) look(ctx context.Context, bus status.Bus, reports []events.Report) status.Secret {
	meta, err := t.read(ctx)
	s := status.Secret{SecretID: t.spec.ID, Store: t.spec.Store, Path: t.spec.StorePath(), Services: t.spec.Services, Discovered: t.found}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.Error = err.Error()
		return s
	}
	return s.Look(ctx, t.spec, scheduler.Facts{Known: err == nil, Meta: meta}, bus, reports)
}
