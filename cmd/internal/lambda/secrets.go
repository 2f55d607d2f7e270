package lambda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// defaultStore is the name of the store that the function has when its
// configuration has none of Secrets Manager: that of its own region and role.
const defaultStore = "aws"

// secrets finds what is wanted of a secret and opens the store that has it,
// once.
type secrets struct {
	cfg    *config.Config
	specs  []secret.Spec
	stores map[string]*config.AWS      // :: name → settings
	tags   map[string]*store.Discovery // :: name of a store → which of its secrets say what is wanted of them
	region string                      // of the function itself
	open   func(name string, d store.Driver) (*store.Store, error)

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
	specs, err := cfg.Specs()
	if err != nil {
		return nil, err
	}
	discoveries, err := cfg.Discoveries()
	if err != nil {
		return nil, err
	}
	s := &secrets{
		cfg: cfg, specs: specs, region: region, open: open, stores: map[string]*config.AWS{}, tags: map[string]*store.Discovery{},
		opened: map[string]account{}, limits: awssm.NewLimits(),
	}
	for name, st := range cfg.Stores {
		if o, ok := st.Options.(*config.AWS); ok {
			s.stores[name] = o
		}
	}
	for _, d := range discoveries {
		if s.stores[d.Store] != nil {
			s.tags[d.Store], d.Manages = d, true
		}
	}
	if len(s.stores) == 0 {
		s.stores[defaultStore] = &config.AWS{}
	}
	return s, nil
}

// listed returns the secrets of the configuration that are in Secrets Manager.
func (s *secrets) listed() []secret.Spec {
	return slices.DeleteFunc(slices.Clone(s.specs), func(spec secret.Spec) bool { return s.stores[spec.Store] == nil })
}

// find returns what is wanted of a secret that somebody names by its ARN, its
// name in Secrets Manager or its id. One that the configuration does not list
// gets its defaults, and its name as its id.
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
	for _, spec := range s.specs {
		named := spec.StorePath() == name || spec.StorePath() == place.Name || place.Region == "" && string(spec.ID) == name
		switch {
		case named && slices.Contains(fit, spec.Store):
			return spec, true, nil
		case place.Region == "" && string(spec.ID) == name:
			return secret.Spec{}, false, fmt.Errorf("%w here: it is in the store %s, which is not Secrets Manager", store.ErrUnknownSecret, spec.Store)
		}
	}
	switch {
	case len(fit) == 0:
		return secret.Spec{}, false, fmt.Errorf("%w: no store of the configuration is in its region and account", store.ErrUnknownSecret)
	case slices.Contains(fit, s.cfg.Defaults.Store):
		fit = []string{s.cfg.Defaults.Store}
	case len(fit) > 1:
		return secret.Spec{}, false, fmt.Errorf("%w: it may be in the stores %s: list it under secrets, or set defaults.store", store.ErrUnknownSecret, strings.Join(fit, " and "))
	}
	spec, err = s.cfg.Unlisted(place.Name, fit[0])
	return spec, false, err
}

// fitting returns the stores that may hold a secret at a place.
func (s *secrets) fitting(place awssm.Place) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		o := s.stores[name]
		region, role := o.Region, strings.Split(o.AssumeRole, ":")
		if region == "" {
			region = s.region
		}
		elsewhere := place.Region != "" && region != "" && region != place.Region ||
			place.Account != "" && len(role) > 4 && role[4] != place.Account
		if !elsewhere {
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
	t := target{spec: spec, acct: acct}
	if !listed {
		t.tags = s.tags[spec.Store]
	}
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

// catalog returns the secrets of the configuration that are in Secrets Manager,
// and what is discovered there. It finds no discovered secret by its id.
func (s *secrets) catalog(ctx context.Context) (*store.Catalog, error) {
	var stores []*store.Store
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		a, err := s.account(ctx, name)
		if err != nil {
			return nil, err
		}
		stores = append(stores, a.store)
	}
	c, err := store.NewCatalog(stores, s.listed())
	if err != nil {
		return nil, err
	}
	discoveries, err := s.cfg.Discoveries() // a catalog keeps them
	if err != nil {
		return nil, err
	}
	discoveries = slices.DeleteFunc(discoveries, func(d *store.Discovery) bool { return s.stores[d.Store] == nil })
	return c, c.Discover(discoveries, nil)
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
// secret alone.
type target struct {
	spec  secret.Spec
	acct  account
	tags  *store.Discovery // of a secret that is not listed, nil where none are read
	found bool             // its tags say what is wanted of it
}

// tagged returns what is wanted of the secret, given what AWS says of it: the
// tags of one that is discovered say it themselves. They are not asked whether
// the secret may be made.
func (t *target) tagged(m secret.Metadata) (secret.Spec, error) {
	if t.tags == nil || !t.tags.Matches(m.Path, m.Attributes) {
		return t.spec, nil
	}
	t.found = true
	spec, problems := t.tags.Spec(m)
	if len(problems) > 0 {
		return t.spec, fmt.Errorf("%w: %s", store.ErrInvalidTags, problems[0])
	}
	spec.Path, spec.Create = t.spec.Path, false
	return spec, nil
}

// read reads the secret, and takes note of what its tags say.
func (t *target) read(ctx context.Context) (secret.Metadata, error) {
	m, err := t.acct.store.Describe(ctx, t.spec.StorePath())
	if err != nil || t.tags == nil {
		return m, err
	}
	named := m
	if place, err := awssm.ParseARN(m.Path); err == nil {
		named.Path = place.Name
	}
	t.spec, err = t.tagged(named)
	return m, err
}

// Find implements rotation.Catalog.
func (t *target) Find(_ context.Context, id secret.ID) (secret.Spec, *store.Store, error) {
	if id != t.spec.ID {
		return secret.Spec{}, nil, fmt.Errorf("%w: %s", store.ErrUnknownSecret, id)
	}
	return t.spec, t.acct.store, nil
}

// Describe implements rotation.Catalog. What is wanted of the secret stands
// since the invocation began.
func (t *target) Describe(ctx context.Context, found secret.Spec) (secret.Spec, secret.Metadata, error) {
	m, err := t.acct.store.Describe(ctx, found.StorePath())
	return found, m, err
}
