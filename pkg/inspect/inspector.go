package inspect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Inspector reads the secrets of a catalog. Catalog and Stores are required. It
// is safe for concurrent use.
type Inspector struct {
	Catalog *catalog.Catalog
	// Stores are listed for discovered secrets.
	Stores *store.Set
	// Bus is nil for what stores alone say; see [NewView].
	Bus Bus
	// Readers are the identities that need no report. Nil where reads of secrets are
	// not heard of.
	Readers *rollout.KnownReaders
	// Shapes has the current values read, to find the rotations that will be refused;
	// see [Shape].
	Shapes bool
	// Once has the secrets shown that the log knows and that no configuration lists any
	// more, see [ListedOnce]. It needs a Bus.
	Once bool
	// Announced shows each configured secret as the bus announced it last, and asks no
	// store. It is for programs without stores, and needs a Bus.
	Announced bool
}

// Secrets returns the secrets with the given IDs, in that order. Without any it
// returns all: the configured ones in the order of their IDs, then those that a
// configuration listed once, then those that are discovered in each store, in the order
// of their paths.
//
// What cannot be read of one secret is in its Error. An ID that is neither
// configured nor discovered is an error that wraps [catalog.ErrUnknownSecret].
func (i *Inspector) Secrets(ctx context.Context, ids ...secret.ID) ([]Secret, error) {
	r := &reading{Inspector: i, view: NewView(i.Bus), claimed: map[secret.ID]secret.Spec{}, down: map[string]error{}}
	r.view.known = i.Readers
	if len(ids) > 0 {
		return r.some(ctx, ids)
	}
	return r.all(ctx), nil
}

// reading is one call of [Inspector.Secrets].
type reading struct {
	*Inspector
	view    *View
	claimed map[secret.ID]secret.Spec // :: id → the discovered secret that was listed first with it
	down    map[string]error          // :: store → why it did not answer; it is not asked again
}

func (r *reading) some(ctx context.Context, ids []secret.ID) ([]Secret, error) {
	out := make([]Secret, 0, len(ids))
	for _, id := range ids {
		e, err := r.Catalog.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, r.known(ctx, e))
	}
	return out, nil
}

func (r *reading) all(ctx context.Context) []Secret {
	out := []Secret{} // an empty array is one in JSON, too
	for e := range r.Catalog.Entries() {
		switch e.Origin {
		case catalog.Configured:
			out = append(out, r.known(ctx, e))
		case catalog.Removed:
			if s := r.known(ctx, e); s.VersionID != "" || s.Error != "" { // else its versions are gone as well
				out = append(out, s)
			}
		case catalog.Discovered: // the stores are listed below
		}
	}
	if r.Announced {
		return out
	}
	out = append(out, r.once(ctx)...)
	for _, st := range r.Stores.All() {
		if r.Catalog.Discovery(st.Name()) != nil {
			out = append(out, r.discovered(ctx, st)...)
		}
	}
	return out
}

// known reads one secret of which the ID and the place are known.
func (r *reading) known(ctx context.Context, e catalog.Entry) Secret {
	if r.Announced {
		return r.view.announced(ctx, e)
	}
	if err := r.down[e.Spec.Store]; err != nil {
		return r.view.Secret(ctx, e, secret.Metadata{}, err)
	}
	bounded, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	found, meta, err := r.Catalog.Describe(bounded, e.Spec)
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		r.down[e.Spec.Store] = err
	}
	return r.shaped(bounded, found, r.view.Secret(ctx, found, meta, err))
}

// shaped returns s with the finding of [Shape], if that is asked for.
func (r *reading) shaped(ctx context.Context, e catalog.Entry, s Secret) Secret {
	if st, ok := r.Stores.Get(e.Spec.Store); ok && r.Shapes {
		Shape(ctx, st, e, &s)
	}
	return s
}

// storeWait is how long a store is waited for: a person waits for the answer.
const storeWait = 5 * time.Second

// discovered returns the secrets that are discovered in a store, in the order of
// their paths. A listing that fails is a Secret without a path.
func (r *reading) discovered(ctx context.Context, st *store.Store) []Secret {
	if err := r.down[st.Name()]; err != nil {
		return []Secret{{Store: st.Name(), Error: err.Error(), Err: err, Discovered: true}}
	}
	var out []Secret
	for meta, err := range st.List(ctx) {
		if err != nil {
			return append(out, Secret{Store: st.Name(), Error: err.Error(), Err: err, Discovered: true})
		}
		if e, ok := r.Catalog.Resolve(st.Name(), meta); ok && e.Origin == catalog.Discovered {
			out = append(out, r.listed(ctx, e, meta))
		}
	}
	slices.SortFunc(out, func(a, b Secret) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// listed returns what is known of a discovered secret, given what its store
// lists.
func (r *reading) listed(ctx context.Context, e catalog.Entry, meta secret.Metadata) Secret {
	if e.Spec.ID != "" && !e.Has(catalog.CodeCollision) {
		collision, err := r.collision(ctx, e.Spec)
		if err != nil {
			s := show(e)
			s.Error, s.Err = err.Error(), err
			return s
		}
		if collision != nil {
			e.Findings = append(e.Findings, *collision)
		}
	}
	switch {
	case e.Has(catalog.CodeCollision):
		return unscheduled(e, scheduler.ReasonCollision)
	case e.Refused():
		return unscheduled(e, scheduler.ReasonInvalid)
	default:
		return r.shaped(ctx, e, r.view.Secret(ctx, e, meta, nil))
	}
}

// unscheduled returns a secret that the scheduler passes over because of its
// findings.
func unscheduled(e catalog.Entry, why scheduler.Reason) Secret {
	s := show(e)
	s.Reason, s.Message = why, "not scheduled because of its tags"
	return s
}

// collision returns the finding about a secret whose ID belongs to another one.
// Before a scheduler has run, the one that was listed first has it.
func (r *reading) collision(ctx context.Context, spec secret.Spec) (*secret.Finding, error) {
	announced, logged, err := r.announced(ctx, spec.ID)
	if err != nil {
		return nil, err
	}
	first, claimed := r.claimed[spec.ID]
	if !claimed {
		r.claimed[spec.ID] = spec
	}
	if !logged {
		announced = first
	}
	return r.Catalog.Collision(spec, announced), nil
}

// announced returns the secret that the log says was discovered under an ID, and
// whether it says anything.
func (r *reading) announced(ctx context.Context, id secret.ID) (spec secret.Spec, logged bool, err error) {
	if r.Bus == nil {
		return secret.Spec{}, false, nil
	}
	last, err := r.Bus.Last(ctx, events.TypeDiscovered, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return secret.Spec{}, false, err
	}
	spec, _ = last.Event.Data.Spec()
	return spec, last.Seq != 0, nil
}
