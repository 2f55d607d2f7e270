package notify

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// fleet indexes the records of the stream of uses by secret, so that a record
// costs as much as it says anew. It is not safe for concurrent use.
//
// It is built for 100,000 instances and a million uses: ADR 50 has the sizes. A
// renewal that changes no state allocates nothing and names no secret. It
// holds what was heard, in whatever order, and decides nothing: [rollout.StateOf] says
// what state an instance is in, and the worker reads the records themselves before it
// retires anything.
type fleet struct {
	instances index
	secrets   map[secret.ID]*users
	states    map[string]map[rollout.InstanceState]int // :: service → state → instances
	since     time.Time                                // when the stream was made
	// next is the earliest end of a lease, zero for none; looked is when leases were
	// last looked at.
	next, looked time.Time
	round        uint32        // see [fleet.begin]
	numbers      int           // of secrets that were ever used
	scratch      []events.User // the result of the last call of of
}

func newFleet() *fleet {
	return &fleet{instances: newIndex(), secrets: map[secret.ID]*users{}, states: map[string]map[rollout.InstanceState]int{}}
}

// apply takes a record and calls changed with every secret of which it says
// something new. A use may come before the presence of its incarnation; until that
// comes, the user is not understood, and blocks. Strings are cloned where they are
// kept: those of e share the memory of a whole message.
func (f *fleet) apply(e events.FleetEvent, now time.Time, changed func(secret.ID)) {
	switch {
	case e.Presence != nil:
		p := e.Presence
		who := f.instance(name{p.Service, p.Incarnation}, p.Instance)
		other := who.renewed == 0 || who.vitals.Value().problem != e.Problem || who.instance() != p.Instance
		if who.instance() != p.Instance {
			who.call(p.Instance)
		}
		if v := (vitals{p.Service, p.Lease, p.Fleet, p.Ended, e.Problem}); who.vitals.Value() != v {
			who.vitals = unique.Make(v)
		}
		who.started, who.renewed = p.StartedAt.UnixMicro(), nanos(e.At)
		f.heard(who, e.Seq)
		if !f.judge(who, now, changed) && other {
			who.eachSecret(changed)
		}
	case e.Use != nil:
		who := f.instance(name{e.Use.Service, e.Use.Incarnation}, e.Use.Instance)
		f.heard(who, e.Seq)
		f.put(who, e, changed)
	}
}

// heard notes the sequence of a record, and that its incarnation exists in this round.
func (f *fleet) heard(who *instance, seq uint64) { who.round, who.seq = f.round, max(who.seq, seq) }

// instance returns the incarnation with a name, a silent one if it is new. It is
// called as the record says until its presence says otherwise.
func (f *fleet) instance(n name, called string) *instance {
	who := f.instances.get(n)
	if who == nil {
		who = newInstance(n, called)
		f.instances.put(who)
		f.count(who, 1)
	} else if who.split == 0 && called != "" {
		who.call(called)
	}
	return who
}

// count keeps the numbers of instances by service and state.
func (f *fleet) count(who *instance, by int) {
	service := who.service()
	of := f.states[service]
	if of == nil {
		of = map[rollout.InstanceState]int{}
		f.states[service] = of
	}
	state := who.stateNow()
	if of[state] += by; of[state] == 0 {
		delete(of, state)
	}
	if len(of) == 0 {
		delete(f.states, service)
	}
}

// judge sets the state of an instance. If it has changed, judge names its secrets
// and returns true. For a live one it also notes when its lease ends.
func (f *fleet) judge(who *instance, now time.Time, changed func(secret.ID)) bool {
	u := who.user()
	state := rollout.StateOf(u, now)
	if state == rollout.InstanceLive {
		if end := rollout.LeaseEnd(u); f.next.IsZero() || end.Before(f.next) {
			f.next = end
		}
	}
	if state == who.stateNow() {
		return false
	}
	f.count(who, -1)
	who.state = uint8(slices.Index(instanceStates[:], state)) // #nosec G115 -- there are three
	f.count(who, 1)
	who.eachSecret(changed)
	return true
}

// leastLook is the least time between two looks at all leases.
const leastLook = time.Second

// nextExpiry returns when [fleet.expire] has to look at the leases, zero for never.
func (f *fleet) nextExpiry() time.Time {
	if f.next.IsZero() || f.next.After(f.looked.Add(leastLook)) {
		return f.next
	}
	return f.looked.Add(leastLook)
}

// expire finds the instances that have become silent. It looks at all of them, and so
// at most once in leastLook: a lease that ended is noticed up to that much later.
func (f *fleet) expire(now time.Time, changed func(secret.ID)) {
	if at := f.nextExpiry(); at.IsZero() || now.Before(at) {
		return
	}
	f.looked, f.next = now, time.Time{}
	for who := range f.instances.all() {
		if who.stateNow() == rollout.InstanceLive {
			f.judge(who, now, changed)
		}
	}
}

// put records what an instance does with a secret. A record that repeats what is
// known renews the time and names nothing.
func (f *fleet) put(who *instance, e events.FleetEvent, changed func(secret.ID)) {
	of := f.users(e.Use.SecretID)
	i, found := who.find(of)
	if !found {
		of.list = append(of.list, who)
		who.uses = slices.Insert(who.uses, i, use{of: of})
	}
	u := &who.uses[i]
	u.stored = nanos(e.At)
	if said := factsOf(e, who.instance()); !found || u.facts.Value() != said {
		u.facts = unique.Make(said)
		changed(of.id)
	}
}

// knows reports whether a record repeats what is known.
func (f *fleet) knows(u events.Use) bool {
	who, of := f.instances.get(name{u.Service, u.Incarnation}), f.secrets[u.SecretID]
	if who == nil || of == nil {
		return false
	}
	i, found := who.find(of)
	return found && who.uses[i].facts.Value() == factsOf(events.FleetEvent{Use: &u}, who.instance())
}

// users returns the uses of a secret, an empty list if there were none.
func (f *fleet) users(id secret.ID) *users {
	of := f.secrets[id]
	if of == nil {
		f.numbers++
		of = &users{id: secret.ID(strings.Clone(string(id))), number: f.numbers}
		f.secrets[of.id] = of
	}
	return of
}

// remove forgets an instance whose records were purged, and names its secrets: they
// may be held back by one instance less.
func (f *fleet) remove(who *instance, changed func(secret.ID)) {
	who.forgotten = true
	for k := range who.uses {
		f.drop(who.uses[k].of)
	}
	f.count(who, -1)
	f.instances.remove(who.name())
	who.eachSecret(changed)
}

// drop takes the instances that are forgotten out of a list, once they are half of
// it: so one costs little, however long the list is.
func (f *fleet) drop(of *users) {
	if of.forgotten++; 2*of.forgotten < len(of.list) {
		return
	}
	of.list = slices.DeleteFunc(of.list, func(who *instance) bool { return who.forgotten })
	if of.forgotten = 0; len(of.list) == 0 {
		delete(f.secrets, of.id)
	}
}

// begin starts a round in which every record is heard of.
func (f *fleet) begin() { f.round++ }

// sweep ends a round: it forgets the instances that were not heard of.
func (f *fleet) sweep(changed func(secret.ID)) {
	var gone []*instance
	for who := range f.instances.all() {
		if who.round != f.round {
			gone = append(gone, who)
		}
	}
	for _, who := range gone {
		f.remove(who, changed)
	}
}

// of returns what is known of the users of a secret. The result is valid until the
// next call. It proves nothing: what was written last may not have been heard yet, and
// it does not know whether records were lost.
func (f *fleet) of(id secret.ID, now time.Time) events.Fleet {
	f.scratch = f.scratch[:0]
	if of := f.secrets[id]; of != nil {
		for _, who := range of.list {
			if !who.forgotten {
				f.scratch = append(f.scratch, who.using(who.use(of)))
			}
		}
	}
	return events.Fleet{SecretID: id, Users: f.scratch, At: now, Since: f.since}
}

// reporting returns the services of which an instance uses a secret, and neither it nor
// the use has ended, in order.
func (f *fleet) reporting(id secret.ID) []string {
	return f.servicesOf(id, func(who *instance, u *use) bool {
		return who.stateNow() != rollout.InstanceEnded && !u.facts.Value().ended
	})
}

// lagging returns the services of which a live instance does not run version want
// of a secret, in order. When there is one, the rollout is blocked by more than
// fences; when there is none, it may still be blocked.
func (f *fleet) lagging(id secret.ID, want secret.VersionID) []string {
	return f.servicesOf(id, func(who *instance, u *use) bool {
		f := u.facts.Value()
		return who.stateNow() == rollout.InstanceLive && !f.ended && f.version != want
	})
}

// servicesOf returns the services of the uses that count, in order.
func (f *fleet) servicesOf(id secret.ID, counts func(*instance, *use) bool) []string {
	of := f.secrets[id]
	if of == nil {
		return nil
	}
	set, last := map[string]struct{}{}, ""
	for _, who := range of.list {
		if who.forgotten || who.service() == last { // mostly there is one service
			continue
		}
		if counts(who, who.use(of)) {
			last = who.service()
			set[last] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
