package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// secrets checks each secret, and that no two are the same one.
func (k *checker) secrets() {
	ids, paths := map[string]int{}, map[site]int{}
	for i, s := range k.cfg.Secrets {
		at := index("secrets", i)
		if first, ok := ids[s.ID]; ok && s.ID != "" {
			k.report(append(at, "id"), fmt.Sprintf("secrets[%d] has the same id", first), "give each secret its own id")
			continue
		}
		ids[s.ID] = i
		if s.Path != "" && k.cfg.Stores[s.Store].NormalPath(s.Path) == "" {
			k.report(append(at, "path"), "it names no secret", "write the path without / at its ends, such as team/db")
		}
		if o, ok := k.cfg.Stores[s.Store].Options.(stateful); ok && !o.amongStates("") && o.amongStates(s.Path) {
			k.report(append(at, "path"), "the store keeps pending versions there (state_prefix)", "move the secret, or set state_prefix of the store")
		}
		w := k.site(s.Store, s.Path)
		if first, ok := paths[w]; ok && s.Store != "" && s.Path != "" {
			k.report(append(at, "path"), fmt.Sprintf("secrets[%d] is the same secret of the store %s", first, k.cfg.Secrets[first].Store), "remove one: two would rotate it in turns")
		}
		paths[w] = i
		k.secret(at, s)
	}
}

// settings checks what a section says by itself. What a secret inherits is
// checked where it is written.
func (k *checker) settings(at []string, s Settings) {
	if _, ok := k.cfg.Stores[s.Store]; !ok && s.Store != "" && k.written(append(at, "store")...) && !k.refused("stores") {
		k.report(append(at, "store"), "there is no store "+quote(s.Store), didYouMean(s.Store, slices.Collect(maps.Keys(k.cfg.Stores))))
	}
	if k.written(append(at, "policy")...) {
		k.policyRef(append(at, "policy"), s.Policy)
	}
	if k.written(append(at, "services")...) {
		k.serviceRefs(append(at, "services"), s.Services)
	}
	if k.written(append(at, "windows")...) {
		for i, w := range s.Windows {
			k.window(append(at, "windows", strconv.Itoa(i)), w)
		}
	}
}

// policyRef checks the policy in place, or that there is one of that name.
func (k *checker) policyRef(at []string, p *PolicyRef) {
	if p == nil || p.Policy == nil && p.Name == "" {
		return
	}
	if p.Policy != nil {
		k.policy(at, *p.Policy)
	} else if _, ok := k.cfg.Policies[p.Name]; !ok && !k.refused("policies") {
		k.report(at, "there is no policy "+quote(p.Name), didYouMean(p.Name, slices.Collect(maps.Keys(k.cfg.Policies))))
	}
}

// secret checks one secret: its own settings, then what is in force for it.
func (k *checker) secret(at []string, s Secret) {
	before := len(k.problems)
	k.settings(at, s.Settings)
	k.lifetime(at, s)
	k.users(at, s)
	k.target(at, s)
	st, ok := k.cfg.Stores[s.Store]
	switch {
	case s.Store == "" && !k.written(append(at, "store")...) && !k.written("defaults", "store") && !k.refused("stores"):
		k.report(at, "no store is named", k.addStore())
	case ok && st.Features().ReadOnly && !*s.Disabled:
		k.warn(append(at, "store"), "the environment cannot be written, so every rotation of this secret fails", "set disabled: true, or use another store")
	}
	if ok && !st.Features().Deletes && s.Retire == string(secret.RetireDestroy) && k.written(append(at, "retire")...) {
		k.warn(append(at, "retire"), "the store removes no value, so destroy is not kept", "use delete, and remove versions in the store")
	}
	if ok && !st.Features().External && s.Strategy == string(secret.StrategyExternal) {
		k.report(append(at, "strategy"), "only AWS Secrets Manager rotates by itself", "remove it, or name a store of type aws")
	}
	if len(k.problems) == before && s.ID != "" && ok {
		k.spec(at, s)
	}
}

// addStore says how to name a store.
func (k *checker) addStore() string {
	if len(k.cfg.Stores) == 0 {
		return "add one under stores: and name it with store:"
	}
	return "add store: " + list(slices.Collect(maps.Keys(k.cfg.Stores)))
}

// spec checks what only the rules of rotation know.
func (k *checker) spec(at []string, s Secret) {
	spec, err := k.cfg.spec(s)
	if err != nil {
		return // inherited, and reported where it is written
	}
	spec.Services, spec.Proof = nil, secret.Proof{} // checked where they are written
	for _, err := range each(spec.Validate()) {
		if !errors.Is(err, secret.ErrInvalidPolicy) {
			k.report(at, plain(err, secret.ErrInvalidSpec), "see the reference for what goes together")
		}
	}
	k.reachable(at, s, spec.Windows)
}

// deadline checks that a version is there for longer than its rollout may take, also by
// a deadline that is inherited. What has been behind counts over the versions between, so
// the deadline works all the same.
func (k *checker) deadline(at []string, s Settings, life DurationOrNone) {
	d := s.Deadline
	if life <= 0 || d < life {
		return
	}
	passed := fmt.Sprintf("before %s have passed", d)
	if !k.written(append(at, "deadline")...) {
		passed = fmt.Sprintf("before the inherited %s have passed", d)
	}
	k.warn(append(at, "deadline"), fmt.Sprintf("a version is replaced %s after it was made, %s", life, passed), "set it to less than ttl minus refresh_margin")
}

// lifetime checks the lifetime against what is kept of it in reserve.
func (k *checker) lifetime(at []string, s Secret) {
	if s.TTL <= 0 {
		return
	}
	margin := max(0, s.RefreshMargin)
	switch {
	case margin >= s.TTL:
		k.report(append(at, "ttl"), fmt.Sprintf("%s is not longer than refresh_margin (%s), so a version would be due at once", s.TTL, margin), "raise ttl well above the margin")
	case secret.Crowded(time.Duration(s.TTL), time.Duration(margin)):
		k.warn(append(at, "ttl"), fmt.Sprintf("refresh_margin (%s) leaves less than a tenth of %s, so rotations are put off and each is an alert", margin, s.TTL), "raise ttl well above the margin")
	default:
		k.reserve(at, s, margin)
	}
}

// reserve checks what is left of the lifetime while a version is in use.
func (k *checker) reserve(at []string, s Secret, margin DurationOrNone) {
	k.deadline(at, s.Settings, s.TTL-margin)
	switch {
	case s.MinTTL <= 0:
	case s.TTL <= s.MinTTL:
		k.warn(append(at, "ttl"), fmt.Sprintf("%s is not above min_ttl (%s), so the policy check always fails", s.TTL, s.MinTTL), "raise ttl")
	case margin < s.MinTTL:
		k.warn(append(at, "refresh_margin"), fmt.Sprintf("before each rotation as little as %s is left, below min_ttl (%s), so the policy check fails then", margin, s.MinTTL),
			"set refresh_margin to more than "+s.MinTTL.String())
	}
}
