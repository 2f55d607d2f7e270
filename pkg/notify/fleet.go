package notify

import (
	"cmp"
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
// It is built for 10,000 instances and a million uses: a use takes about a hundred
// bytes, and a renewal that changes no state allocates nothing and names no secret. It
// holds what was heard, in whatever order, and decides nothing: [rollout.StateOf] says
// what state an instance is in, and the worker reads the records themselves before it
// retires anything.
type fleet struct {
	instances map[name]*instance
	secrets   map[secret.ID]*users
	states    map[string]map[rollout.InstanceState]int // :: service → state → instances
	since     time.Time                                // when the stream was made
	// next is the earliest end of a lease, zero for none; looked is when leases were
	// last looked at.
	next, looked time.Time
	round        uint64        // see [fleet.begin]
	scratch      []events.User // the result of the last call of of
}

// name tells one incarnation from another: the subject of a use has no more.
type name struct{ service, incarnation string }

// instance is one incarnation of a process.
type instance struct {
	name
	instance string                // "" until a record says it
	vitals   unique.Handle[vitals] // of its presence
	started  time.Time             // as the process says
	renewed  int64                 // when the presence was stored, see nanos; 0 if there is none
	seq      uint64                // of its last record
	uses     []*use                // in the order of the secrets
	state    rollout.InstanceState
	round    uint64 // in which it was last heard of
}

// vitals is what a presence says, without who says it and when. Thousands of
// presences say the same, and so it is held once.
type vitals struct {
	lease   int
	fleet   string
	ended   bool
	problem string // why the presence is not understood, "" if it is
}

// users are the uses of one secret, in no order.
type users struct {
	id   secret.ID
	list []*use
}

// use is what one incarnation does with one secret.
type use struct {
	who      *instance
	instance string // as the record says, "" if it does not
	of       *users
	at       int // in of.list
	facts    unique.Handle[facts]
	stored   int64 // see nanos
}

// facts is what a use says, without who says it of which secret and when. Thousands
// of uses say the same, and so it is held once. It leaves out when the version was
// taken into use: nothing depends on it.
type facts struct {
	version, wanted secret.VersionID
	status          events.ApplyStatus
	accepts         string // the versions, each followed by a zero byte
	acceptsAny      bool   // no versions are named
	pastFence       events.PastFence
	fence           int
	joined          bool
	reason, problem string
}

// factsOf returns what a record says.
func factsOf(e events.FleetEvent) facts {
	u := e.Use
	f := facts{
		version: u.VersionID, wanted: u.Wanted, status: u.Status, acceptsAny: u.Accepts == nil,
		pastFence: u.PastFence, fence: u.Fence, joined: u.Joined, reason: u.Reason, problem: e.Problem,
	}
	for _, v := range u.Accepts {
		f.accepts += string(v) + "\x00"
	}
	return f
}

var noVitals = unique.Make(vitals{})

// versions returns what a use accepts, nil for any.
func (f *facts) versions() []secret.VersionID {
	if f.acceptsAny {
		return nil
	}
	out := []secret.VersionID{}
	for v := range strings.SplitAfterSeq(f.accepts, "\x00") {
		if v != "" {
			out = append(out, secret.VersionID(v[:len(v)-1]))
		}
	}
	return out
}

// nanos returns a time of the server in nanoseconds since 1970, and 0 for the zero
// time. A process may claim any time, so what it says is not kept in this form.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// moment is the inverse of nanos.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func newFleet() *fleet {
	return &fleet{instances: map[name]*instance{}, secrets: map[secret.ID]*users{}, states: map[string]map[rollout.InstanceState]int{}}
}

// apply takes a record and calls changed with every secret of which it says
// something new. A use may come before the presence of its incarnation; until that
// comes, the user is not understood, and blocks. Strings are cloned where they are
// kept: those of e share the memory of a whole message.
func (f *fleet) apply(e events.FleetEvent, now time.Time, changed func(secret.ID)) {
	switch {
	case e.Presence != nil:
		p := e.Presence
		who := f.instance(name{p.Service, p.Incarnation})
		other := who.renewed == 0 || who.vitals.Value().problem != e.Problem || who.instance != p.Instance
		if who.instance != p.Instance {
			who.instance = strings.Clone(p.Instance)
		}
		if v := (vitals{p.Lease, p.Fleet, p.Ended, e.Problem}); who.vitals.Value() != v {
			who.vitals = unique.Make(v)
		}
		who.started, who.renewed = p.StartedAt, nanos(e.At)
		f.heard(who, e.Seq)
		if !f.judge(who, now, changed) && other {
			who.eachSecret(changed)
		}
	case e.Use != nil:
		who := f.instance(name{e.Use.Service, e.Use.Incarnation})
		f.heard(who, e.Seq)
		f.put(who, e, changed)
	}
}

// heard notes the sequence of a record, and that its incarnation exists in this round.
func (f *fleet) heard(who *instance, seq uint64) { who.round, who.seq = f.round, max(who.seq, seq) }

// instance returns the incarnation with a name, a silent one if it is new.
func (f *fleet) instance(n name) *instance {
	who := f.instances[n]
	if who == nil {
		n = name{strings.Clone(n.service), strings.Clone(n.incarnation)}
		who = &instance{name: n, state: rollout.InstanceSilent, vitals: noVitals}
		f.instances[n] = who
		f.count(who, 1)
	}
	return who
}

// count keeps the numbers of instances by service and state.
func (f *fleet) count(who *instance, by int) {
	of := f.states[who.service]
	if of == nil {
		of = map[rollout.InstanceState]int{}
		f.states[who.service] = of
	}
	if of[who.state] += by; of[who.state] == 0 {
		delete(of, who.state)
	}
	if len(of) == 0 {
		delete(f.states, who.service)
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
	if state == who.state {
		return false
	}
	f.count(who, -1)
	who.state = state
	f.count(who, 1)
	who.eachSecret(changed)
	return true
}

// user returns what is known of an instance without its uses.
func (i *instance) user() events.User {
	v := i.vitals.Value()
	return events.User{
		Presence: events.Presence{
			Service: i.service, Instance: i.instance, Incarnation: i.incarnation,
			StartedAt: i.started, Lease: v.lease, Fleet: v.fleet, Ended: v.ended,
		},
		RenewedAt: moment(i.renewed), Problem: v.problem,
	}
}

// eachSecret calls fn with every secret that the instance uses.
func (i *instance) eachSecret(fn func(secret.ID)) {
	for _, u := range i.uses {
		fn(u.of.id)
	}
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
	for _, who := range f.instances {
		if who.state == rollout.InstanceLive {
			f.judge(who, now, changed)
		}
	}
}

// put records what an instance does with a secret. A record that repeats what is
// known renews the time and names nothing.
func (f *fleet) put(who *instance, e events.FleetEvent, changed func(secret.ID)) {
	id := e.Use.SecretID
	i, found := who.find(id)
	if !found {
		of := f.users(id)
		u := &use{who: who, of: of, at: len(of.list)}
		of.list = append(of.list, u)
		who.uses = slices.Insert(who.uses, i, u)
	}
	u := who.uses[i]
	same := found && u.says(e)
	u.stored = nanos(e.At)
	if same {
		return
	}
	u.facts, u.instance = unique.Make(factsOf(e)), who.instance
	if e.Use.Instance != who.instance {
		u.instance = strings.Clone(e.Use.Instance)
	}
	changed(u.of.id)
}

// find returns where the use of a secret is, or would be.
func (i *instance) find(id secret.ID) (at int, found bool) {
	return slices.BinarySearchFunc(i.uses, id, func(u *use, id secret.ID) int { return cmp.Compare(u.of.id, id) })
}

// says reports whether a record repeats what is known.
func (u *use) says(e events.FleetEvent) bool {
	return u.instance == e.Use.Instance && u.facts.Value() == factsOf(e)
}

// users returns the uses of a secret, an empty list if there were none.
func (f *fleet) users(id secret.ID) *users {
	of := f.secrets[id]
	if of == nil {
		of = &users{id: secret.ID(strings.Clone(string(id)))}
		f.secrets[of.id] = of
	}
	return of
}

// remove forgets an instance whose records were purged, and names its secrets: they
// may be held back by one instance less.
func (f *fleet) remove(who *instance, changed func(secret.ID)) {
	for _, u := range who.uses {
		f.drop(u)
		changed(u.of.id)
	}
	f.count(who, -1)
	delete(f.instances, who.name)
}

// drop forgets a use of its secret. The last one of the list takes its place.
func (f *fleet) drop(u *use) {
	last := len(u.of.list) - 1
	moved := u.of.list[last]
	u.of.list[u.at], moved.at = moved, u.at
	u.of.list[last] = nil
	u.of.list = u.of.list[:last]
	if last == 0 {
		delete(f.secrets, u.of.id)
	}
}

// begin starts a round in which every record is heard of.
func (f *fleet) begin() { f.round++ }

// sweep ends a round: it forgets the instances that were not heard of.
func (f *fleet) sweep(changed func(secret.ID)) {
	for _, who := range f.instances {
		if who.round != f.round {
			f.remove(who, changed)
		}
	}
}

// of returns what is known of the users of a secret. The result is valid until the
// next call. It proves nothing: what was written last may not have been heard yet, and
// it does not know whether records were lost.
func (f *fleet) of(id secret.ID, now time.Time) events.Fleet {
	f.scratch = f.scratch[:0]
	if of := f.secrets[id]; of != nil {
		for _, u := range of.list {
			f.scratch = append(f.scratch, u.user())
		}
	}
	return events.Fleet{SecretID: id, Users: f.scratch, At: now, Since: f.since}
}

// user returns what is known of a use and of who has it.
func (u *use) user() events.User {
	out, f := u.who.user(), u.facts.Value()
	out.Use = events.Use{
		Running: events.Running{SecretID: u.of.id, VersionID: f.version, Status: f.status, Wanted: f.wanted, Reason: f.reason},
		Service: u.who.service, Instance: cmp.Or(u.instance, u.who.instance), Incarnation: u.who.incarnation,
		Accepts: f.versions(), PastFence: f.pastFence, Fence: f.fence, Joined: f.joined,
	}
	out.UsedAt, out.Problem = moment(u.stored), cmp.Or(f.problem, out.Problem)
	if (u.who.renewed == 0 || u.instance != u.who.instance) && out.Problem == "" {
		out.Problem = "no presence of the incarnation is stored"
	}
	return out
}

// reporting returns the services of which an instance uses a secret and has not
// ended, in order.
func (f *fleet) reporting(id secret.ID) []string {
	return f.servicesOf(id, func(u *use) bool { return u.who.state != rollout.InstanceEnded })
}

// lagging returns the services of which a live instance does not run version want
// of a secret, in order. When there is one, the rollout is blocked by more than
// fences; when there is none, it may still be blocked.
func (f *fleet) lagging(id secret.ID, want secret.VersionID) []string {
	return f.servicesOf(id, func(u *use) bool {
		return u.who.state == rollout.InstanceLive && u.facts.Value().version != want
	})
}

// servicesOf returns the services of the uses that count, in order.
func (f *fleet) servicesOf(id secret.ID, counts func(*use) bool) []string {
	of := f.secrets[id]
	if of == nil {
		return nil
	}
	set, last := map[string]struct{}{}, ""
	for _, u := range of.list {
		if u.who.service != last && counts(u) { // mostly there is one service
			last = u.who.service
			set[last] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
