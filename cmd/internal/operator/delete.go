package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Deletion says how a secret is deleted.
type Deletion struct {
	// Store is where a secret is that no configuration lists; "" means to look for it.
	Store string
	// Yes deletes; without it nothing is changed. Force deletes although instances use
	// the secret or the configuration lists it.
	Yes, Force bool
	Why        Why
}

// Deleted is a secret that was deleted, or would be.
type Deleted struct {
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store"`
	Path     string    `json:"path"`
	// Current is the version that is current, "" for none, and Versions how many there
	// are.
	Current  secret.VersionID `json:"current_version_id,omitempty"`
	Versions int              `json:"versions"`
	// Against is what speaks against it: who uses the secret, and who would make it anew.
	Against []string `json:"against,omitempty"`
	// Done is false where nothing was changed.
	Done bool `json:"done"`
}

func (d Deleted) String() string {
	return fmt.Sprintf("%s: deleted %s in the store %s, with %s; its receipts are kept", d.SecretID, d.Path, d.Store, cli.Count(d.Versions, "version"))
}

// Refusal says why nothing was done, and what to do.
func (d Deleted) Refusal() error {
	text := fmt.Sprintf("nothing was done: %s in the store %s has %s", d.Path, d.Store, cli.Count(d.Versions, "version"))
	if len(d.Against) > 0 {
		return fmt.Errorf("%s; %s; give --yes --force to delete it nevertheless", text, strings.Join(d.Against, "; "))
	}
	return fmt.Errorf("%s, and nothing is known to use it; give --yes to delete it", text)
}

// Delete deletes a secret with all its versions, and takes its timers away, unless
// something speaks against it. That is recorded first. The record of the secret stays.
func (o *Operator) Delete(ctx context.Context, id secret.ID, del Deletion) (Deleted, error) {
	p, err := o.connect(ctx)
	if err != nil {
		return Deleted{}, err
	}
	defer p.Close()
	answers, err := running.Ask(ctx, p.Conn, p.Bus.Names(), running.Show, o.Config.SingleNode())
	if err != nil {
		return Deleted{}, err
	}
	for _, a := range answers {
		keep(p.Catalog, a)
	}
	if err := listedOnce(ctx, p); err != nil {
		return Deleted{}, err
	}
	at, against, err := toDelete(ctx, p, id, del.Store)
	if err != nil && at.store != nil && del.Yes { // what an interrupted deletion has left
		err = errors.Join(err, at.store.Delete(ctx, at.spec.StorePath(), ""))
	}
	if err != nil {
		return Deleted{}, err
	}
	against = append(against, listing(answers, id)...)
	out := Deleted{SecretID: id, Store: at.spec.Store, Path: at.spec.StorePath(), Current: at.meta.Current().ID, Versions: len(at.meta.Versions)}
	uses, err := usesOf(ctx, p.Bus, at.spec)
	if err != nil {
		return out, err
	}
	against = append(against, uses...)
	if out.Against = against; !del.Yes || len(out.Against) > 0 && !del.Force {
		return out, nil
	}
	if err := record(ctx, p, events.ActDelete, id, out.Current, del.Why); err != nil {
		return out, err
	}
	if err := at.store.Delete(ctx, at.spec.StorePath(), out.Current); err != nil {
		return out, err
	}
	out.Done = true
	for _, t := range []events.Type{events.TypeNearExpiry, events.TypeRetire} {
		err = errors.Join(err, takeBack(ctx, p.Bus, t, id))
	}
	return out, err
}

// takeBack takes the timer of a secret away, if it has one.
func takeBack(ctx context.Context, bus *events.Bus, t events.Type, id secret.ID) error {
	timer, err := bus.Timer(ctx, t, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) || timer.At.IsZero() {
		return err
	}
	return bus.TakeBack(ctx, t, id)
}

// toDelete finds a secret, and says whether the configuration of this command would have
// it made anew. One that is not in the catalog has its ID as its path.
func toDelete(ctx context.Context, p *wire.Parts, id secret.ID, in string) (at place, against []string, err error) {
	found, err := p.Catalog.Find(ctx, id)
	switch {
	case errors.Is(err, catalog.ErrUnknownSecret):
		at, err = unlisted(ctx, p, id, in, likely(err, p.Catalog))
		return at, nil, err
	case err != nil:
		return at, nil, err
	case in != "" && in != found.Spec.Store:
		return at, nil, cli.UsageError{Err: fmt.Errorf("--store: %s is in the store %s", id, found.Spec.Store)}
	case found.Origin == catalog.Configured:
		against = []string{"the configuration lists it: take it out there first, or the next sweep may make it anew"}
	}
	at, err = locate(ctx, p, id)
	if err == nil && at.new {
		err = fmt.Errorf("store %s has no secret %s", at.spec.Store, at.spec.StorePath())
	}
	return at, against, err
}

// unlisted finds a secret that no configuration lists any more. It returns unknown if
// there is none, and then the place alone if only one store may have had it.
func unlisted(ctx context.Context, p *wire.Parts, id secret.ID, in string, unknown error) (place, error) {
	var all, none []place
	for _, st := range p.Stores.All() {
		if in != "" && st.Name() != in || !st.Features().DeletesAll {
			continue
		}
		m, err := st.Describe(ctx, string(id))
		switch {
		case errors.Is(err, store.ErrNotFound):
			none = append(none, place{spec: secret.Spec{ID: id, Store: st.Name()}, store: st, new: true})
		case err != nil:
			return place{}, err
		default:
			all = append(all, place{spec: secret.Spec{ID: id, Store: st.Name()}, meta: m, store: st})
		}
	}
	switch len(all) {
	case 0:
		if len(none) == 1 {
			return none[0], unknown
		}
		return place{}, unknown
	case 1:
		return all[0], nil
	default:
		return place{}, cli.UsageError{Err: fmt.Errorf("--store: %s is in the store %s, and in %s: choose one", id, all[0].spec.Store, all[1].spec.Store)}
	}
}

// listing names the programs that list a secret which their files list no more.
func listing(answers []running.Answer, id secret.ID) []string {
	var out []string
	for _, a := range answers {
		if slices.Contains(a.Pending.Removed, string(id)) {
			out = append(out, a.Source+" still runs a configuration that lists it; load the file with 'rotator reload' first")
		}
	}
	return out
}

// usesOf names those who use a secret, and those of which it is not known that they do
// not.
func usesOf(ctx context.Context, bus *events.Bus, spec secret.Spec) ([]string, error) {
	fleet, err := bus.Fleet(ctx, spec.ID)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, u := range fleet.Users {
		if state := rollout.StateOf(u, fleet.At); state != rollout.InstanceEnded {
			out = append(out, fmt.Sprintf("%s/%s uses it (%s)", u.Use.Service, u.Use.Instance, state))
		}
	}
	for _, c := range spec.Proof.Consumers {
		out = append(out, fmt.Sprintf("%s reads it and reports nothing", c.Name))
	}
	if unknown := (rollout.Question{Spec: spec, VersionID: "(none)", Promoted: time.Time{}}).Ask(fleet).Unknown; unknown != "" {
		out = append(out, unknown)
	}
	return out, nil
}
