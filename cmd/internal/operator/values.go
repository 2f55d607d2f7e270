package operator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Why says why a person acts on a secret; it is recorded.
type Why struct {
	Reason, Ticket string
	// By names the person; "" is the user of this process.
	By string

	freeze string // what the act overrules, "" for none
}

// during is the same for an act on a secret that a freeze may hold.
func (w Why) during(spec secret.Spec, m secret.Metadata) Why {
	if until, f := spec.Thaw(m, time.Now()); f != nil {
		w.freeze = frozen(f, until)
	}
	return w
}

// frozen names a freeze and its end.
func frozen(f *secret.Freeze, until time.Time) string {
	return fmt.Sprintf("%s (%s), until %s", f.Reason, f, until.UTC().Format(time.RFC3339))
}

func (w Why) by() string { return cmp.Or(w.By, User()) }

// place is a secret, what its store knows of it, and the store.
type place struct {
	spec  secret.Spec
	meta  secret.Metadata
	store *store.Store
	new   bool // the store does not know the secret yet
}

// locate finds a secret and reads its metadata.
func locate(ctx context.Context, p *wire.Parts, id secret.ID) (place, error) {
	found, err := lookUp(ctx, p, id)
	if err != nil {
		return place{}, err
	}
	st, ok := p.Stores.Get(found.Spec.Store)
	if !ok {
		return place{}, fmt.Errorf("%s: there is no store %q", id, found.Spec.Store)
	}
	e, meta, err := p.Catalog.Describe(ctx, found.Spec)
	if errors.Is(err, store.ErrNotFound) {
		return place{spec: found.Spec, store: st, new: true}, nil
	}
	return place{spec: e.Spec, meta: meta, store: st}, err
}

// record writes what a person is about to do to a secret.
func record(ctx context.Context, p *wire.Parts, kind events.ActKind, id secret.ID, v secret.VersionID, why Why) error {
	return p.Bus.RecordAct(ctx, events.Act{
		SecretID: id, Kind: kind, VersionID: v, By: p.Source + "/" + why.by(), Reason: why.Reason, Ticket: why.Ticket, Freeze: why.freeze, At: time.Now(),
	})
}

// Got is a version that was read.
type Got struct {
	Version secret.Version
	Value   secret.Value
}

// Get reads one version of a secret, the current one if v is "", and of a document
// only the field, unless that is "". Who reads what and why is recorded first.
func Get(ctx context.Context, p *wire.Parts, id secret.ID, v secret.VersionID, field string, why Why) (Got, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return Got{}, err
	}
	if at.new {
		return Got{}, fmt.Errorf("%s has no version yet", id)
	}
	if v == "" {
		v = at.meta.Current().ID
	}
	if err := record(ctx, p, events.ActRead, id, v, why); err != nil {
		return Got{}, err
	}
	version, value, err := at.store.Get(ctx, at.spec.StorePath(), store.Selector{Version: v, Primary: true})
	if err == nil && field != "" {
		value, err = value.Field(field)
	}
	return Got{version, value}, err
}

// ReadValue reads a value, of which it drops the line end that a terminal or echo
// adds. It fails if the value is empty or too long.
func ReadValue(r io.Reader) (secret.Value, error) {
	text, err := io.ReadAll(io.LimitReader(r, secret.MaxValueLength+3))
	if err != nil {
		return secret.Value{}, err
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case len(text) == 0:
		return secret.Value{}, errors.New("the standard input is empty; pipe the value into the command")
	case len(text) > secret.MaxValueLength:
		return secret.Value{}, fmt.Errorf("the value is longer than %d bytes", secret.MaxValueLength)
	}
	return secret.NewValue(text), nil
}

// Put has a value of a person become the current version of a secret. The workers
// apply, test and promote it as they do with one of their own; if they refuse it, it
// is withdrawn. The value has to satisfy the policy.
func Put(ctx context.Context, p *wire.Parts, id secret.ID, value secret.Value, notAfter time.Time, why Why, wait Wait) (Rotated, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return Rotated{}, err
	}
	if at.new && !at.spec.Create {
		return Rotated{}, fmt.Errorf("store %s has no secret %s; create it there, or set create: true", at.spec.Store, at.spec.StorePath())
	}
	if broken := at.spec.ValuePolicy().Check(value); broken != nil {
		return Rotated{}, fmt.Errorf("the value breaks the policy of %s: %w", id, broken)
	}
	return supply(ctx, p, at, supplied{value: value, notAfter: notAfter, kind: events.ActPut}, why, wait)
}

// supplied is a value that a person has become current, and where it comes from.
type supplied struct {
	value    secret.Value
	notAfter time.Time
	kind     events.ActKind
	of       secret.VersionID // the version that had the value before, "" for none
}

// puts is how many values a person can supply in place of one version.
const puts = 16

// supply writes a pending version and has the workers make it current.
func supply(ctx context.Context, p *wire.Parts, at place, s supplied, why Why, wait Wait) (Rotated, error) {
	if err := record(ctx, p, s.kind, at.spec.ID, s.of, why.during(at.spec, at.meta)); err != nil {
		return Rotated{}, err
	}
	v, err := at.put(ctx, s)
	if err != nil {
		return Rotated{}, err
	}
	by := User()
	q := rotation.Supplied(time.Now(), by, why.Ticket, at.spec, at.meta, v.Token)
	out := Rotated{SecretID: at.spec.ID, From: q.From}
	if err := p.Bus.RotateNow(ctx, q.Event(p.Source+"/"+by)); err != nil || wait.For == WaitNone {
		return out, err
	}
	out.To, err = await(ctx, p.Bus, q, wait.Timeout)
	if errors.Is(err, rotation.ErrGivenUp) {
		err = errors.Join(err, at.withdraw(ctx, v))
	}
	if err != nil {
		return out, err
	}
	return out, wait.rollouts(ctx, p.Bus, versionsOf([]Rotated{out}), func(string, ...any) {})
}

// withdraw takes a version that it put away again, unless it is not pending any more.
// In Vault the version of another writer that came in its place has the same id.
func (at place) withdraw(ctx context.Context, v secret.Version) error {
	meta, err := at.store.Describe(ctx, at.spec.StorePath())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("see whether version %s of %s is pending still: %w", v.ID, at.spec.ID, err)
	}
	if p, ok := meta.At(secret.StagePending); !ok || p.Token != v.Token {
		return nil
	}
	return at.store.Retire(ctx, at.spec.StorePath(), v.ID, secret.RetireDelete)
}

// put writes the pending version. A value that was supplied before, and did not
// become current, makes room.
func (at place) put(ctx context.Context, s supplied) (v secret.Version, err error) {
	w := store.Write{From: at.meta.Current().ID, Value: s.value, NotAfter: s.notAfter, Create: at.spec.Create}
	if s.notAfter.IsZero() {
		w.Lifetime = at.spec.Lifetime(at.meta)
	}
	tokens := make([]secret.Token, puts)
	for n := range tokens {
		tokens[n] = secret.NewToken(at.spec.ID, w.From, fmt.Sprintf("%s %s in %s", s.kind, s.of, at.meta.Incarnation), n)
	}
	if pending, ok := at.meta.At(secret.StagePending); ok && slices.Contains(tokens, pending.Token) {
		w.Replace = pending.ID
	}
	for _, w.Token = range tokens {
		v, err = at.store.Put(ctx, at.spec.StorePath(), w)
		switch {
		case errors.Is(err, store.ErrTokenReused), err == nil && v.Stage != secret.StagePending:
			continue // it names a value that was supplied before
		case errors.Is(err, store.ErrPending):
			err = fmt.Errorf("another rotation of %s is under way; try again when it has ended: %w", at.spec.ID, err)
		case errors.Is(err, store.ErrConflict):
			err = fmt.Errorf("%s was rotated a moment ago; look at it again: %w", at.spec.ID, err)
		}
		return v, err
	}
	return v, fmt.Errorf("%d values were supplied in place of version %s of %s; rotate it first", puts, w.From, at.spec.ID)
}

// Import brings an existing value in as the first version of a secret. The value may
// break the policy: it returns how, in words that hold no value.
func Import(ctx context.Context, p *wire.Parts, id secret.ID, value secret.Value, notAfter time.Time, why Why) (v secret.Version, broken, err error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return v, nil, err
	}
	if cur := at.meta.Current().ID; cur != "" {
		return v, nil, fmt.Errorf("%s has version %s already; 'rotator put %s' replaces it", id, cur, id)
	}
	if err := record(ctx, p, events.ActImport, id, "", why); err != nil {
		return v, nil, err
	}
	broken = at.spec.ValuePolicy().Check(value)
	at.spec.Create = true
	if v, err = at.put(ctx, supplied{value: value, notAfter: notAfter, kind: events.ActImport}); err != nil {
		return v, broken, err
	}
	return v, broken, at.store.Promote(ctx, at.spec.StorePath(), "", v.ID)
}

// Rollback has the value of the previous version become current again, as a new
// version that services follow. The previous version must not be retired: a value
// that was revoked works no longer.
func Rollback(ctx context.Context, p *wire.Parts, id secret.ID, why Why, wait Wait) (Rotated, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return Rotated{}, err
	}
	prev, ok := at.meta.At(secret.StagePrevious)
	if !ok || prev.Empty {
		return Rotated{}, fmt.Errorf("%s has no previous version that still works: it was retired, or there was none; 'rotator rotate %s' makes a new one", id, id)
	}
	last, err := p.Bus.Last(ctx, events.TypeRollout, id)
	if err != nil {
		return Rotated{}, err
	}
	if ro := last.Event.Data.Rollout; ro != nil && (ro.State == events.RolloutDraining || ro.State == events.RolloutRetired) {
		return Rotated{}, fmt.Errorf("version %s of %s is being retired: services refuse it by now; 'rotator rotate %s' makes a new one", prev.ID, id, id)
	}
	_, value, err := at.store.Get(ctx, at.spec.StorePath(), store.Selector{Version: prev.ID, Primary: true})
	if err != nil {
		return Rotated{}, err
	}
	return supply(ctx, p, at, supplied{value: value, kind: events.ActRollback, of: prev.ID}, why, wait)
}

// Version is one version of a secret, as its store lists it.
type Version struct {
	ID        secret.VersionID `json:"version_id"`
	Stage     secret.Stage     `json:"stage,omitempty"`
	CreatedAt time.Time        `json:"created_at,omitzero"`
	NotAfter  time.Time        `json:"not_after,omitzero"`
	// Empty is true for a version without a value.
	Empty bool `json:"empty,omitempty"`
}

// ListVersions returns the versions of a secret, the newest first.
func ListVersions(ctx context.Context, p *wire.Parts, id secret.ID) ([]Version, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return nil, err
	}
	out := make([]Version, 0, len(at.meta.Versions))
	for _, v := range at.meta.Versions {
		out = append(out, Version{ID: v.ID, Stage: v.Stage, CreatedAt: v.CreatedAt, NotAfter: at.spec.NotAfter(at.meta, v), Empty: v.Empty})
	}
	slices.SortStableFunc(out, func(a, b Version) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, nil
}

// PrintVersions prints a line for each version.
func PrintVersions(w io.Writer, all []Version, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "VERSION\tSTAGE\tMADE\tENDS\tVALUE")
	for _, v := range all {
		ends, value := "never", "yes"
		if !v.NotAfter.IsZero() {
			ends = v.NotAfter.UTC().Format(time.RFC3339)
		}
		if v.Empty {
			value = "no"
		}
		fmt.Fprintf(t, "%s\t%s\t%s ago\t%s\t%s\n", v.ID, cmp.Or(string(v.Stage), "-"), now.Sub(v.CreatedAt).Round(time.Second), ends, value)
	}
	return t.Flush()
}
