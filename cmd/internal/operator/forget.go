package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/view"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Reason is why an instance is forgotten, and what of it.
type Reason struct {
	// Text says how it is known that the process is gone; it is recorded.
	Text string
	// By names the person; "" is the user of this process.
	By string
	// Incarnation is the only one that is meant; "" means all.
	Incarnation string
	// Live is also to forget an instance that is live.
	Live bool
}

// ForgetInstance records and removes what is stored of an instance, and returns it.
func ForgetInstance(ctx context.Context, p *wire.Parts, service, instance string, why Reason) ([]Forgotten, error) {
	fleet, err := p.Bus.Instance(ctx, service, instance, why.Incarnation)
	if err != nil {
		return nil, err
	}
	all := toForget(fleet, p.Source+"/"+cmp.Or(why.By, User()), why.Text, time.Now())
	if len(all) == 0 {
		return nil, fmt.Errorf("no record of %s/%s is stored", service, instance)
	}
	if live := slices.ContainsFunc(all, func(f Forgotten) bool { return f.State == rollout.InstanceLive }); live && !why.Live {
		return nil, fmt.Errorf("%s/%s is live: %s; give --yes to forget it nevertheless", service, instance, Describe(all))
	}
	return all, forget(ctx, p.Bus, all, fleet.Seq)
}

// Forgotten is an incarnation whose records are removed.
type Forgotten struct {
	events.Forgotten

	// State is live if one of its records is.
	State rollout.InstanceState `json:"state"`
}

// toForget returns the incarnations of an instance, in order.
func toForget(f events.Fleet, by, reason string, now time.Time) []Forgotten {
	var all []Forgotten
	for _, u := range f.Users {
		i := slices.IndexFunc(all, func(o Forgotten) bool { return o.Incarnation == u.Use.Incarnation })
		if i < 0 {
			i = len(all)
			all = append(all, Forgotten{State: rollout.StateOf(u, f.At), Forgotten: events.Forgotten{
				Service: u.Use.Service, Instance: u.Use.Instance, Incarnation: u.Use.Incarnation, By: by, Reason: reason, At: now, RenewedAt: u.RenewedAt, Used: []events.Use{},
			}})
		}
		if rollout.StateOf(u, f.At) == rollout.InstanceLive {
			all[i].State = rollout.InstanceLive
		}
		if u.Use.SecretID != "" {
			all[i].Used = append(all[i].Used, u.Use)
		}
	}
	slices.SortFunc(all, func(a, b Forgotten) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	return all
}

// Describe says what the incarnations used, in one line.
func Describe(all []Forgotten) string {
	var out []string
	for _, f := range all {
		var used []string
		for _, u := range f.Used {
			used = append(used, fmt.Sprintf("%s %s", u.SecretID, view.ShortID(u.VersionID)))
		}
		if used == nil {
			used = []string{"no secret"}
		}
		out = append(out, fmt.Sprintf("incarnation %s (%s) used %s", f.Incarnation, f.State, strings.Join(used, ", ")))
	}
	return strings.Join(out, "; ")
}

// forget records what is removed, and removes it. upTo is the sequence that all was
// read through: an incarnation that has renewed its presence since is kept, and the
// error wraps [events.ErrConflict].
func forget(ctx context.Context, bus *events.Bus, all []Forgotten, upTo uint64) error {
	for _, f := range all {
		if err := bus.RecordForgotten(ctx, f.Forgotten); err != nil {
			return err
		}
		ids := make([]secret.ID, 0, len(f.Used))
		for _, u := range f.Used {
			ids = append(ids, u.SecretID)
		}
		err := bus.Forget(ctx, f.Service, f.Instance, f.Incarnation, ids, upTo)
		if errors.Is(err, events.ErrConflict) {
			return fmt.Errorf("%w: its process runs; run the command again if you want it forgotten nevertheless", err)
		}
		if err != nil {
			return err
		}
		f.Done = true // notifiers wait for it: nothing announces a purge
		if err := bus.RecordForgotten(ctx, f.Forgotten); err != nil {
			return err
		}
	}
	return nil
}

// ConfirmFleet confirms the stream of uses, and returns done unless that was
// necessary.
func ConfirmFleet(ctx context.Context, bus *events.Bus, by, reason string) (c events.Confirmation, done bool, err error) {
	since, last, err := bus.Confirmed(ctx)
	if err != nil || since.Equal(last.Since) {
		return last, true, err
	}
	c = events.Confirmation{Since: since, By: by, Reason: reason, At: time.Now()}
	return c, false, bus.ConfirmFleet(ctx, c)
}
