package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Emergency is the rotation of secrets that have leaked. Its name is Why.Ticket: the
// same command finds by it what an earlier run has done.
type Emergency struct {
	Why  Why
	Wait time.Duration
	// Progress gets a line whenever a secret gets further.
	Progress io.Writer

	parts *wire.Parts
	items []*Leaked
	told  string
}

// atOnce bounds how many secrets are read at the same time.
const atOnce = 8

// Prepare reads the secrets, whom their rotation may break, and what an earlier run
// of the same emergency has done. It changes nothing.
func (e *Emergency) Prepare(ctx context.Context, p *wire.Parts, specs []secret.Spec) error {
	e.parts, e.items = p, make([]*Leaked, len(specs))
	return e.each(ctx, len(specs), func(ctx context.Context, n int) error {
		item := &Leaked{SecretID: specs[n].ID, Store: specs[n].Store}
		e.items[n] = item
		if err := e.prepare(ctx, item); err != nil {
			item.Problem = err.Error()
		}
		return ctx.Err()
	})
}

func (e *Emergency) each(ctx context.Context, n int, do func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

func (e *Emergency) prepare(ctx context.Context, item *Leaked) error {
	at, err := locate(ctx, e.parts, item.SecretID)
	if err != nil {
		return err
	}
	item.place = at
	acts, err := e.parts.Bus.TrustedActs(ctx, item.SecretID)
	if err != nil {
		return err
	}
	item.From = at.meta.Current().ID
	for _, a := range acts {
		if a.Kind == events.ActEmergency && a.Ticket == e.Why.Ticket {
			item.From, item.DeclaredAt = a.VersionID, a.At
		}
	}
	if item.From == "" {
		return errors.New("it has no version that could have leaked")
	}
	item.Risk, err = riskOf(ctx, e.parts, at.spec)
	return err
}

// Run rotates what [Emergency.Prepare] has read, follows it until every leaked version
// is destroyed or the time is over, and reports what the stores and the record show
// then. Each secret is recorded before its rotation is asked for, and is not rotated
// again by a later run.
func (e *Emergency) Run(ctx context.Context) (Report, error) {
	err := e.each(ctx, len(e.items), func(ctx context.Context, n int) error {
		item := e.items[n]
		if item.Problem != "" {
			return nil
		}
		if err := e.ask(ctx, item); err != nil {
			item.Problem = err.Error()
		}
		return ctx.Err()
	})
	if err == nil {
		err = e.follow(ctx)
	}
	if err != nil {
		return Report{}, fmt.Errorf("interrupted, and the rotations that were asked for go on; run the same command again: %w", err)
	}
	return e.report(ctx)
}

// ask has the workers rotate a secret away from the version that leaked, unless that
// was replaced already.
func (e *Emergency) ask(ctx context.Context, item *Leaked) error {
	if item.DeclaredAt.IsZero() {
		item.DeclaredAt = time.Now()
		if err := record(ctx, e.parts, events.ActEmergency, item.SecretID, item.From, e.Why.during(item.place.spec, item.place.meta)); err != nil {
			return err
		}
	}
	if item.place.meta.Current().ID != item.From {
		v, listed := item.place.meta.Version(item.From)
		item.rotated, item.retired = true, !listed || v.Empty
		return nil
	}
	q := rotation.Emergency(time.Now(), User(), e.Why.Ticket, item.place.spec, item.place.meta)
	item.asked = q.At
	return e.parts.Bus.RotateNow(ctx, q.Event(e.parts.Source+"/"+User()))
}

var errFollowed = errors.New("followed to the end")

// follow returns when nothing more can be expected of any secret, or the time is over.
func (e *Emergency) follow(parent context.Context) error {
	if e.Wait <= 0 || e.settled() {
		return nil
	}
	ctx, cancel := context.WithTimeout(parent, e.Wait)
	defer cancel()
	of := make(map[secret.ID]*Leaked, len(e.items))
	for _, item := range e.items {
		of[item.SecretID] = item
	}
	types := []events.Type{events.TypeRotated, events.TypeRotationFailed, events.TypeRollout}
	err := e.parts.Bus.WatchLog(ctx, types, func(_ context.Context, a events.Announcement) error {
		if item := of[a.Event.Data.SecretID]; item == nil || !item.heard(a.Event) {
			return nil
		}
		e.tell()
		if e.settled() {
			return errFollowed
		}
		return nil
	}, nil)
	if err == nil || errors.Is(err, errFollowed) {
		return parent.Err()
	}
	return err
}

func (e *Emergency) settled() bool {
	return !slices.ContainsFunc(e.items, func(i *Leaked) bool { return !i.settled() })
}

// tell says how far the secrets are, if that has changed.
func (e *Emergency) tell() {
	var rotated, retired, failed int
	for _, i := range e.items {
		switch {
		case i.retired:
			rotated++
			retired++
		case i.rotated:
			rotated++
		case i.settled():
			failed++
		}
	}
	line := fmt.Sprintf("%d of %d rotated, %d retired", rotated, len(e.items), retired)
	if failed > 0 {
		line += fmt.Sprintf(", %d failed", failed)
	}
	if line != e.told && e.Progress != nil {
		e.told = line
		fmt.Fprintln(e.Progress, line)
	}
}

// heard notes what an event says of a secret, and reports whether that is news. The last
// events about a secret are about the version that leaked, or about one after it.
func (i *Leaked) heard(ev events.Event) bool {
	was := [3]bool{i.rotated, i.retired, i.failed}
	d := ev.Data
	switch ev.Type {
	case events.TypeRotated:
		i.rotated = i.rotated || d.VersionID != i.From
	case events.TypeRotationFailed:
		i.failed = i.failed || d.VersionID == i.From && ev.Time.After(i.asked)
	case events.TypeRollout:
		i.retired = i.retired || d.VersionID != i.From && d.Rollout != nil && d.Rollout.State == events.RolloutRetired
		i.rotated = i.rotated || i.retired
	default: // it says nothing of a version's end
	}
	return was != [3]bool{i.rotated, i.retired, i.failed}
}

func (i *Leaked) settled() bool {
	return i.Problem != "" || i.retired || i.failed && !i.rotated
}
