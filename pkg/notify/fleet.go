package notify

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// fleet is what the live instances run, indexed by secret, so that one report
// costs as much as it differs from the one before. It is not safe for
// concurrent use.
//
// It is built for 10,000 instances and a million uses: a use takes some 100
// bytes, and a report that says nothing new allocates nothing.
type fleet struct {
	instances map[name]*instance
	secrets   map[secret.ID]*users
	services  map[string]int         // :: service → live instances
	unclear   map[*instance]struct{} // whose report is not understood
	round     uint64
	scratch   []events.Report
	running   []events.Running
}

type name struct{ service, instance string }

// instance is one live process.
type instance struct {
	name
	uses  []*use // in the order of the secrets
	round uint64 // in which it was last heard of
	// problem says why its report is not understood, "" for one that is.
	problem string
}

// users are the uses of one secret, in no order.
type users struct {
	id   secret.ID
	list []*use
}

// use is what one instance runs of one secret.
type use struct {
	who             *instance
	of              *users
	at              int // in of.list
	version, wanted unique.Handle[secret.VersionID]
	status          unique.Handle[events.ApplyStatus]
	reason          string
}

func newFleet() *fleet {
	return &fleet{instances: map[name]*instance{}, secrets: map[secret.ID]*users{}, services: map[string]int{}, unclear: map[*instance]struct{}{}}
}

// apply takes a report and calls changed with every secret of which it says
// something new. It returns true when any secret of the service may be affected,
// because the report is not understood or the one before was not. It may reorder
// the report.
func (f *fleet) apply(r events.Report, changed func(secret.ID)) (all bool) {
	who := f.instance(name{r.Service, r.Instance})
	who.round = f.round
	all = who.problem != r.Problem
	if who.problem = strings.Clone(r.Problem); r.Problem != "" {
		f.unclear[who] = struct{}{}
	} else {
		delete(f.unclear, who)
	}
	order(&r)
	if !who.same(r.Secrets) {
		f.update(who, r, changed)
	}
	return all
}

// update replaces the uses of an instance by those of its report.
func (f *fleet) update(who *instance, r events.Report, changed func(secret.ID)) {
	next := make([]*use, 0, len(r.Secrets))
	old := who.uses
	for _, s := range r.Secrets {
		for len(old) > 0 && old[0].of.id < s.SecretID {
			f.drop(old[0], changed)
			old = old[1:]
		}
		var u *use
		if len(old) > 0 && old[0].of.id == s.SecretID {
			u, old = old[0], old[1:]
		}
		next = append(next, f.put(who, u, s, changed))
	}
	for _, u := range old {
		f.drop(u, changed)
	}
	who.uses = next
}

// order sorts a report by secret; of two entries for a secret the first counts,
// as it does for [rollout.Blocking].
func order(r *events.Report) {
	bySecret := func(a, b events.Running) int { return cmp.Compare(a.SecretID, b.SecretID) }
	if !slices.IsSortedFunc(r.Secrets, bySecret) {
		slices.SortStableFunc(r.Secrets, bySecret)
	}
	r.Secrets = slices.CompactFunc(r.Secrets, func(a, b events.Running) bool { return a.SecretID == b.SecretID })
}

func (f *fleet) instance(n name) *instance {
	who := f.instances[n]
	if who == nil {
		n = name{strings.Clone(n.service), strings.Clone(n.instance)}
		who = &instance{name: n}
		f.instances[n] = who
		f.services[n.service]++
	}
	return who
}

// same reports whether an instance runs what it did.
func (i *instance) same(now []events.Running) bool {
	return slices.EqualFunc(i.uses, now, func(u *use, s events.Running) bool { return u.of.id == s.SecretID && u.same(s) })
}

// same leaves out when the version was taken into use: nothing depends on it.
func (u *use) same(s events.Running) bool {
	return u.version.Value() == s.VersionID && u.wanted.Value() == s.Wanted && u.status.Value() == s.Status && u.reason == s.Reason
}

// put records what an instance runs, in u if it ran something of the secret
// before.
func (f *fleet) put(who *instance, u *use, s events.Running, changed func(secret.ID)) *use {
	switch {
	case u == nil:
		of := f.users(s.SecretID)
		u = &use{who: who, of: of, at: len(of.list)}
		of.list = append(of.list, u)
	case u.same(s):
		return u
	}
	u.version, u.wanted, u.status, u.reason = unique.Make(s.VersionID), unique.Make(s.Wanted), unique.Make(s.Status), strings.Clone(s.Reason)
	changed(u.of.id)
	return u
}

func (f *fleet) users(id secret.ID) *users {
	of := f.secrets[id]
	if of == nil {
		of = &users{id: secret.ID(strings.Clone(string(id)))}
		f.secrets[of.id] = of
	}
	return of
}

// drop forgets a use.
func (f *fleet) drop(u *use, changed func(secret.ID)) {
	last := len(u.of.list) - 1
	moved := u.of.list[last]
	u.of.list[u.at], moved.at = moved, u.at
	u.of.list[last] = nil
	u.of.list = u.of.list[:last]
	if last == 0 {
		delete(f.secrets, u.of.id)
	}
	changed(u.of.id)
}

// remove forgets an instance. It returns true when any secret of the service may
// be affected.
func (f *fleet) remove(n name, changed func(secret.ID)) (all bool) {
	who := f.instances[n]
	if who == nil {
		return false
	}
	for _, u := range who.uses {
		f.drop(u, changed)
	}
	delete(f.instances, n)
	delete(f.unclear, who)
	if f.services[n.service]--; f.services[n.service] == 0 {
		delete(f.services, n.service)
	}
	return who.problem != ""
}

// begin starts a round in which every live instance is heard of.
func (f *fleet) begin() { f.round++ }

// sweep ends a round: it forgets the instances that were not heard of.
func (f *fleet) sweep(changed func(secret.ID)) {
	for n, who := range f.instances {
		if who.round != f.round {
			f.remove(n, changed)
		}
	}
}

// of returns what is reported of one secret, as [rollout.Blocking] takes it, and
// every report that is not understood. The result is valid until the next call.
func (f *fleet) of(id secret.ID) []events.Report {
	f.scratch = f.scratch[:0]
	for who := range f.unclear {
		f.scratch = append(f.scratch, events.Report{Service: who.service, Instance: who.instance, Problem: who.problem})
	}
	of := f.secrets[id]
	if of == nil {
		return f.scratch
	}
	f.running = slices.Grow(f.running[:0], len(of.list))
	for i, u := range of.list {
		f.running = append(f.running, events.Running{
			SecretID: id, VersionID: u.version.Value(), Status: u.status.Value(), Wanted: u.wanted.Value(), Reason: u.reason,
		})
		f.scratch = append(f.scratch, events.Report{Service: u.who.service, Instance: u.who.instance, Secrets: f.running[i : i+1 : i+1]})
	}
	return f.scratch
}

// reporting returns the services that report a secret, in order.
func (f *fleet) reporting(id secret.ID) []string {
	of := f.secrets[id]
	if of == nil {
		return nil
	}
	set := map[string]struct{}{}
	for _, u := range of.list {
		set[u.who.service] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}

// lagging returns the services of which an instance reports the secret and does
// not run version want, in order. When there is one, [rollout.Blocking] has a
// blocker; when there is none, it may still have some.
func (f *fleet) lagging(id secret.ID, want secret.VersionID) []string {
	of := f.secrets[id]
	if of == nil {
		return nil
	}
	set, v, last := map[string]struct{}{}, unique.Make(want), ""
	for _, u := range of.list {
		if u.version != v && u.who.service != last { // mostly there is one service
			last = u.who.service
			set[last] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
