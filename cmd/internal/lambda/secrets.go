package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// defaultStore is the name of the store that the function has when its
// configuration has none of Secrets Manager: that of its own region and role.
const defaultStore = "aws"

// secrets says what is configured for a secret and opens the store that has it,
// once. To its catalog it is the stores.
type secrets struct {
	cfg     *config.Config
	catalog *catalog.Catalog       // of the secrets in Secrets Manager
	rank    map[secret.ID]int      // :: id → position in the configuration
	stores  map[string]*config.AWS // :: name → settings
	region  string                 // of the function itself
	open    func(name string, d store.Driver) (*store.Store, error)

	mu     sync.Mutex
	opened map[string]account
	limits *awssm.Limits
}

// account is one store that is open.
type account struct {
	driver *awssm.Driver
	store  *store.Store
}

func newSecrets(cfg *config.Config, region string, open func(string, store.Driver) (*store.Store, error)) (*secrets, error) {
	s := &secrets{
		cfg: cfg, rank: map[secret.ID]int{}, region: region, open: open, stores: config.StoresOf[*config.AWS](cfg),
		opened: map[string]account{}, limits: awssm.NewLimits(),
	}
	specs, err := cfg.Specs()
	if err != nil {
		return nil, err
	}
	for i, spec := range specs {
		s.rank[spec.ID] = i
	}
	discoveries, err := cfg.Discoveries()
	if err != nil {
		return nil, err
	}
	s.catalog, err = catalog.New(catalog.Config{
		Stores:      s,
		Specs:       slices.DeleteFunc(specs, func(spec secret.Spec) bool { return !s.Has(spec.Store) }),
		Discoveries: slices.DeleteFunc(discoveries, func(d *catalog.Discovery) bool { return !s.Has(d.Store) }),
	})
	if len(s.stores) == 0 {
		s.stores[defaultStore] = &config.AWS{}
	}
	return s, err
}

// listed returns the ids of the configured secrets in Secrets Manager, in the
// order of the configuration.
func (s *secrets) listed() []secret.ID {
	var ids []secret.ID
	for e := range s.catalog.Entries() {
		ids = append(ids, e.Spec.ID)
	}
	slices.SortFunc(ids, func(a, b secret.ID) int { return s.rank[a] - s.rank[b] })
	return ids
}

// find returns what is configured for a secret that is named by its ARN, its name
// in Secrets Manager or its id. One that the configuration does not list gets the
// defaults, and its name as its id.
//
// The path of what is returned is the ARN where there is one, which AWS also
// knows in another account.
func (s *secrets) find(name string) (spec secret.Spec, listed bool, err error) {
	place, err := awssm.ParseARN(name)
	if err != nil {
		if strings.HasPrefix(name, "arn:") {
			return secret.Spec{}, false, err
		}
		place = awssm.Place{Name: name}
	}
	return s.findAt(name, place)
}

// findAt is find for a secret of which it is known where it is.
func (s *secrets) findAt(name string, place awssm.Place) (spec secret.Spec, listed bool, err error) {
	spec, listed, err = s.spec(name, place)
	if err != nil {
		return secret.Spec{}, false, err
	}
	if place.Region != "" {
		spec.Path = name
	}
	return spec, listed, spec.Validate()
}

func (s *secrets) spec(name string, place awssm.Place) (spec secret.Spec, listed bool, err error) {
	fit := s.fitting(place)
	if e, ok := s.configured(name, place, fit); ok {
		return e.Spec, true, nil
	}
	if i, ok := s.rank[secret.ID(name)]; ok && place.Region == "" {
		return secret.Spec{}, false, fmt.Errorf("%w here: it is in the store %s, which is not Secrets Manager", catalog.ErrUnknownSecret, s.cfg.Secrets[i].Store)
	}
	switch {
	case len(fit) == 0:
		return secret.Spec{}, false, fmt.Errorf("%w: no store of the configuration is in its region and account", catalog.ErrUnknownSecret)
	case slices.Contains(fit, s.cfg.Defaults.Store):
		fit = []string{s.cfg.Defaults.Store}
	case len(fit) > 1:
		return secret.Spec{}, false, fmt.Errorf("%w: it may be in the stores %s: list it under secrets, or set defaults.store", catalog.ErrUnknownSecret, strings.Join(fit, " and "))
	}
	spec, err = s.cfg.Unlisted(place.Name, fit[0])
	return spec, false, err
}

// configured returns the configured secret that a name stands for in the stores
// that fit, the first of the configuration if there are several.
func (s *secrets) configured(name string, place awssm.Place, fit []string) (first catalog.Entry, ok bool) {
	take := func(e catalog.Entry, known bool) {
		if known && slices.Contains(fit, e.Spec.Store) && (!ok || s.rank[e.Spec.ID] < s.rank[first.Spec.ID]) {
			first, ok = e, true
		}
	}
	for _, store := range fit {
		take(s.catalog.At(store, name))
		take(s.catalog.At(store, place.Name))
	}
	if place.Region == "" {
		take(s.catalog.Lookup(secret.ID(name)))
	}
	return first, ok
}

// fitting returns the stores that may hold a secret at a place.
func (s *secrets) fitting(place awssm.Place) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		if o := s.stores[name]; place.MayBeIn(cmp.Or(o.Region, s.region), o.AssumeRole) {
			out = append(out, name)
		}
	}
	return out
}

// locate is find, with the store that has the secret.
func (s *secrets) locate(ctx context.Context, name string) (target, error) {
	spec, listed, err := s.find(name)
	if err != nil {
		return target{}, err
	}
	acct, err := s.account(ctx, spec.Store)
	return target{spec: spec, acct: acct, listed: listed, catalog: s.catalog}, err
}

// locateCommand is locate for a name that a person or a program wrote. AWS names a
// secret to its function by the whole ARN; others may leave out its end, and the
// end of the name may look like one: what the secret is called, AWS says.
func (s *secrets) locateCommand(ctx context.Context, name string) (target, error) {
	t, err := s.locate(ctx, name)
	place, noARN := awssm.ParseARN(name)
	if err != nil || noARN != nil {
		return t, err
	}
	called, whole, err := t.acct.driver.Resolve(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return t, nil // what is done next says so
	case err != nil:
		return t, err
	case whole == name || whole == "":
		return t, nil
	}
	place.Name = called
	if t.spec, t.listed, err = s.findAt(whole, place); err != nil {
		return t, err
	}
	t.acct, err = s.account(ctx, t.spec.Store)
	return t, err
}

// account opens a store, once.
func (s *secrets) account(ctx context.Context, name string) (account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.opened[name]; ok {
		return a, nil
	}
	d, err := wire.AWS(ctx, s.stores[name], s.limits)
	if err != nil {
		return account{}, fmt.Errorf("store %s: %w", name, err)
	}
	st, err := s.open(name, d)
	if err != nil {
		return account{}, err
	}
	s.opened[name] = account{driver: d, store: st}
	return s.opened[name], nil
}

// set opens every store.
func (s *secrets) set(ctx context.Context) (*store.Set, error) {
	out := new(store.Set)
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		a, err := s.account(ctx, name)
		if err == nil {
			err = out.Add(a.store)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Has implements [catalog.Stores].
func (s *secrets) Has(name string) bool { return s.stores[name] != nil }

// External implements [catalog.Stores].
func (s *secrets) External(string) bool { return true }

// NormalPath implements [catalog.Stores].
func (s *secrets) NormalPath(name, path string) string {
	o := s.stores[name]
	if o == nil {
		return path
	}
	return awssm.NormalPath(path, cmp.Or(o.Region, s.region), o.AssumeRole)
}

// Describe implements [catalog.Stores].
func (s *secrets) Describe(ctx context.Context, name, path string) (secret.Metadata, error) {
	a, err := s.account(ctx, name)
	if err != nil {
		return secret.Metadata{}, err
	}
	return a.store.Describe(ctx, path)
}

// close closes what has been opened.
func (s *secrets) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, a := range s.opened {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}

// target is the secret that an invocation is about. It is a catalog of that
// secret alone, and the store that has it.
type target struct {
	spec    secret.Spec
	acct    account
	listed  bool             // in the configuration
	catalog *catalog.Catalog // knows whether its tags count
	found   bool             // it was discovered: its tags say what is configured
}

// tagged returns what is configured for the secret, given what AWS says of it. The
// tags of a discovered secret say so themselves, except whether it may be created.
func (t *target) tagged(m secret.Metadata) (secret.Spec, error) {
	if t.listed {
		return t.spec, nil
	}
	e, ok := t.catalog.Resolve(t.spec.Store, m)
	if !ok || e.Origin != catalog.Discovered {
		return t.spec, nil
	}
	t.found = true
	if err := e.Err(); err != nil {
		return t.spec, err
	}
	spec := e.Spec
	spec.Path, spec.Create = t.spec.Path, false
	return spec, nil
}

// read reads the secret, and takes note of what its tags say.
func (t *target) read(ctx context.Context) (secret.Metadata, error) {
	m, err := t.acct.store.Describe(ctx, t.spec.StorePath())
	if err != nil || t.listed {
		return m, err
	}
	named := m
	if place, err := awssm.ParseARN(m.Path); err == nil {
		named.Path = place.Name
	}
	t.spec, err = t.tagged(named)
	return m, err
}

// Find implements [rotation.Catalog].
func (t *target) Find(_ context.Context, id secret.ID) (catalog.Entry, error) {
	if id != t.spec.ID {
		return catalog.Entry{}, fmt.Errorf("%w: %s", catalog.ErrUnknownSecret, id)
	}
	return t.entry(t.spec), nil
}

// Describe implements [rotation.Catalog]. The spec is fixed for the whole
// invocation.
func (t *target) Describe(ctx context.Context, spec secret.Spec) (catalog.Entry, secret.Metadata, error) {
	m, err := t.acct.store.Describe(ctx, spec.StorePath())
	return t.entry(spec), m, err
}

func (t *target) entry(spec secret.Spec) catalog.Entry {
	e := catalog.Entry{Spec: spec, Origin: catalog.Configured}
	if t.found {
		e.Origin = catalog.Discovered
	}
	return e
}

// Get implements [rotation.Stores].
func (t *target) Get(name string) (*store.Store, bool) { return t.acct.store, name == t.spec.Store }
