package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const (
	// maxReads bounds how often one run reads the store and the log.
	maxReads = 5
	// rereadPause is how long a run waits before its second read. Each later wait
	// is four times as long: about 5 s in all, which is longer than a server
	// usually lags behind.
	rereadPause = 60 * time.Millisecond
)

// run is one try of a rotation, taken a step at a time. It is not safe for
// concurrent use.
type run struct {
	r     *Rotator
	store *store.Store // nil before the first read
	state state
	plan  plan
	reads int
	wrote bool // something in the store
	// shapeKept is whether the current value may be replaced, see keepShape.
	shapeKept bool

	// made is the value under the token made names, proposed or read back by this
	// run. A token never gets a second value.
	made struct {
		token secret.Token
		value secret.Value
	}
	// known are the values that this run has seen. Its errors are scrubbed of them.
	known []secret.Value
}

// saw notes a value, and returns it.
func (x *run) saw(v secret.Value) secret.Value {
	if v.Len() > 0 && !slices.ContainsFunc(x.known, v.Equal) {
		x.known = append(x.known, v)
	}
	return v
}

// newRun returns a run that has done nothing yet.
func (r *Rotator) newRun(t Try) *run {
	return &run{r: r, state: state{try: t}, plan: firstPlan()}
}

// step takes the next step of the plan. It returns the outcome once no step is
// left, and "" before. After an error the run is over.
func (x *run) step(ctx context.Context) (Outcome, error) {
	if len(x.plan.steps) == 0 {
		return x.plan.outcome, nil
	}
	s := x.plan.steps[0]
	x.plan.steps = x.plan.steps[1:]
	ctx, span := x.r.tracer.Start(ctx, "rotation."+s.name)
	defer span.End()
	err := secret.Scrub(s.do(x, ctx), x.known...)
	if err == nil {
		return "", nil
	}
	if s.retries(err) && x.reads < maxReads {
		span.SetAttributes(attribute.Bool("rotation.lost_race", true))
		x.pause(ctx)
		x.plan = firstPlan()
		return "", nil
	}
	if s.retries(err) {
		err = fmt.Errorf("%w: %w", errLostRace, err)
	}
	return "", stepError{s.name, err}
}

// pause waits before the store is read again. It adds up to half of the wait at
// random, so that workers that met do not meet again.
func (x *run) pause(ctx context.Context) {
	d := rereadPause << (2 * max(x.reads-1, 0))
	backoff.Pause(ctx, d+backoff.Random(d/2))
}

// read reads the log, then the store, and plans what is left. The order matters:
// an announcement that is made after the store was read must change the sequence
// that the run's own announcement is compared with.
func (x *run) read(ctx context.Context) error {
	x.reads++
	if err := x.find(ctx); err != nil {
		return err
	}
	log, noLog, err := x.readLog(ctx)
	if err != nil {
		return err
	}
	meta, err := x.readStore(ctx)
	if err != nil {
		return err
	}
	due, err := x.state.dueAt(meta, time.Now())
	if err != nil {
		return err
	}
	paused, err := x.readPause(ctx)
	if err != nil {
		return err
	}
	x.state = x.state.afterRead(meta, log, noLog, due)
	x.state.paused, x.state.thaws = paused, x.state.frozen(meta, time.Now())
	x.plan = x.state.plan()
	return nil
}

// find looks the secret up, once. It is a part of the read step, so that an unknown
// secret fails like one that the store does not have.
func (x *run) find(ctx context.Context) (err error) {
	if x.store == nil {
		x.state.spec, x.store, err = x.r.find(ctx, x.state.try.Secret)
	}
	return err
}

// readLog returns the last announcement, and whether there is no log to read. An
// early phase reads none.
func (x *run) readLog(ctx context.Context) (last events.Announcement, none bool, err error) {
	if x.state.try.Phase.early() {
		return last, true, nil
	}
	last, err = x.r.cfg.Bus.Last(ctx, events.TypeRotated, x.state.try.Secret)
	switch {
	case errors.Is(err, ErrNoLog):
		return events.Announcement{}, true, nil
	case errors.Is(err, events.ErrUntrusted):
		return last, false, nil
	default:
		return last, false, err
	}
}

// readStore reads the secret and updates the spec. The error wraps errOutdated
// if the answer is older than what the run knows.
func (x *run) readStore(ctx context.Context) (secret.Metadata, error) {
	spec, meta, err := x.r.describe(ctx, x.state.spec)
	switch {
	case err == nil && meta.Current().ID == "" && x.state.try.From == "" && meta.Deleted != "":
		err = meta.Deletion()
	case errors.Is(err, store.ErrNotFound) && x.state.spec.Create && !errors.Is(err, store.ErrDeleted):
		spec, meta, err = x.state.spec, secret.Metadata{Path: x.state.spec.StorePath()}, nil
	case errors.Is(err, store.ErrNotFound) && x.wrote:
		err = fmt.Errorf("%w: %w", errOutdated, err)
	}
	if err == nil {
		err = x.outdated(meta)
	}
	if err == nil {
		x.state.spec = spec
	}
	return meta, err
}

// outdated returns an error if meta is older than what the run knows: the version
// that the request names has been current, and this run may have seen it. From
// the first read it may be gone.
func (x *run) outdated(meta secret.Metadata) error {
	from := x.state.try.From
	v, ok := meta.Version(from)
	if from == "" || ok && v.Stage != secret.StagePending || !ok && x.reads == 1 {
		return nil
	}
	return fmt.Errorf("%w: version %s is not current there yet", errOutdated, from)
}
