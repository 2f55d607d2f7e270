package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	targets "github.com/tradepulse/rotator/pkg/target"
)

// Options are what a [Function] works with. Config is required.
type Options struct {
	Config *config.Config
	// Region is that of the function, for stores that name none.
	Region string
	// LookupEnv reads the environment variables that hold secrets of the program
	// itself. Nil means os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Logger is nil for slog.Default.
	Logger *slog.Logger
}

// Function serves requests. It is safe for concurrent use.
type Function struct {
	o       Options
	log     *slog.Logger
	secrets *secrets
	link    *link
}

// New returns a Function that has opened nothing yet.
func New(o Options) (*Function, error) {
	f := &Function{o: o, log: o.Logger}
	if f.log == nil {
		f.log = slog.Default()
	}
	var err error
	f.secrets, err = newSecrets(o.Config, o.Region, func(name string, d store.Driver) (*store.Store, error) {
		return store.New(name, d, &store.Options{Logger: f.log})
	})
	if err != nil {
		return nil, err
	}
	f.link = &link{cfg: o.Config, timeout: time.Duration(o.Config.Lambda.NATSTimeout), log: f.log, lookup: f.credentials}
	return f, nil
}

// Close closes what has been opened.
func (f *Function) Close() error { return errors.Join(f.link.close(), f.secrets.close()) }

// Invoke implements the handler of the Lambda runtime. Its errors, like all
// that it logs, hold nothing of the request but the id of the secret.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	answer, err := f.serve(ctx, payload)
	if err != nil {
		return nil, messages.InvokeResponse_Error{Message: err.Error(), Type: kind(err)}
	}
	return json.Marshal(answer)
}

// kind is the errorType of an error, for filters and alarms.
func kind(err error) string {
	switch {
	case errors.Is(err, ErrRequest):
		return "InvalidRequest"
	case errors.Is(err, context.DeadlineExceeded):
		return "TimedOut"
	default:
		return "Failed"
	}
}

// reserve is kept of the time that an invocation has, to answer before it is
// killed: then the answer says which step was too slow.
const reserve = 500 * time.Millisecond

func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(reserve, time.Until(end)/4)))
}

func (f *Function) serve(ctx context.Context, payload []byte) (any, error) {
	r, err := decode(payload)
	switch {
	case err != nil:
		f.log.LogAttrs(ctx, slog.LevelError, "lambda.rejected", slog.Int("bytes", len(payload)), slog.String("error", err.Error()))
		return nil, err
	case r.rotation != nil:
		return f.step(ctx, *r.rotation)
	case r.event != nil:
		err := f.event(ctx, r.event)
		if err != nil {
			err = fmt.Errorf("event: %w", err)
			f.log.LogAttrs(ctx, slog.LevelError, "lambda.event_failed", slog.String("error", err.Error()))
		}
		return nil, err
	default:
		return f.command(ctx, *r.command)
	}
}

// event has the secrets looked at that an event of EventBridge names, as a
// scheduler looks at them: the event itself is not believed. Timers are left to
// the schedulers, if there are any: what AWS schedules needs none.
func (f *Function) event(ctx context.Context, e json.RawMessage) error {
	if f.o.Config.SingleNode() {
		return refuse("events of EventBridge need nats.url")
	}
	parts, err := f.link.reach(ctx)
	if err != nil {
		return err
	}
	stores, err := f.secrets.set(ctx)
	if err != nil {
		return err
	}
	sch, err := scheduler.New(scheduler.Config{Catalog: f.secrets.catalog, Stores: stores, Bus: parts.Bus, Source: source, LeaveTimers: true, Logger: f.log})
	if err != nil {
		return err
	}
	in, err := wire.Intake(f.secrets.catalog, f.o.Config, sch, parts.Bus, f.log)
	if err != nil {
		return err
	}
	return in.Handle(ctx, e)
}

// publisher opens the event bus of the configuration.
func (f *Function) publisher(ctx context.Context) (Publisher, error) {
	return wire.Publisher(ctx, f.o.Config.EventBridge, f.log)
}

// announcer returns the bus of one invocation.
func (f *Function) announcer() *announcer {
	a := &announcer{both: f.o.Config.Lambda.Announce == "both", timeout: f.link.timeout, log: f.log}
	if f.o.Config.EventBridge.On() {
		a.publisher = f.publisher
	}
	if !f.o.Config.SingleNode() {
		a.reach = f.link.bus
	}
	a.lost = func(ctx context.Context, e events.Event, err error) {
		f.log.LogAttrs(ctx, slog.LevelError, "lambda.announcement_lost", slog.String("type", string(e.Type)), slog.String("secret_id", string(e.Data.SecretID)),
			slog.String("version_id", string(e.Data.VersionID)), slog.String("error", err.Error()))
	}
	return a
}

// source names the function in its events.
const source = "/rotator/lambda"

// rotator returns a rotator of one secret. It has no timers, because AWS schedules
// the next rotation.
func (f *Function) rotator(t target) (*rotation.Rotator, error) {
	return rotation.New(rotation.Config{Catalog: &t, Stores: &t, Bus: f.announcer(), Source: source, TargetFor: f.targetFor, Logger: f.log})
}

// targetFor refuses a secret that has a target: AWS never says that a version is
// retired, so no old credential could be revoked.
func (f *Function) targetFor(_ context.Context, s secret.Spec) (targets.Target, error) {
	if of, ok := f.o.Config.TargetOf(s.ID); ok {
		return nil, refuse("the secret has the target %s, which this function cannot change; have 'rotator run' rotate it", of.Name)
	}
	return nil, nil
}
