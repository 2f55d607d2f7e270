package notify

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// name tells one incarnation from another: the subject of a use has no more.
type name struct{ service, incarnation string }

// instance is one incarnation of a process. There are many, so it is packed into 80
// bytes, a size class of the allocator.
type instance struct {
	names     string                // the instance, "" until a record says it, and the incarnation
	vitals    unique.Handle[vitals] // of its presence
	started   int64                 // in microseconds since 1970, as the process says: any time of a JSON text fits
	renewed   int64                 // when the presence was stored, see nanos; 0 if there is none
	seq       uint64                // of its last record
	uses      []use                 // in the order of the numbers of the secrets
	round     uint32                // in which it was last heard of
	split     uint16                // the length of the instance in names
	state     uint8                 // an index of instanceStates
	forgotten bool                  // its uses are still in the lists of their secrets
}

// instanceStates are the states of an instance.
var instanceStates = [...]rollout.InstanceState{rollout.InstanceSilent, rollout.InstanceLive, rollout.InstanceEnded}

// vitals is what a presence says, without which instance says it and when. Thousands
// of presences say the same, and so it is held once.
type vitals struct {
	service string
	lease   int
	fleet   string
	ended   bool
	problem string // why the presence is not understood, "" if it is
}

// newInstance returns a silent incarnation of which only the names are known.
func newInstance(n name, called string) *instance {
	return &instance{names: strings.Clone(called + n.incarnation), split: lengthOf(called), vitals: unique.Make(vitals{service: n.service})}
}

// lengthOf returns the length of a token. A subject of NATS, which may have any token,
// has less than 64 KiB.
func lengthOf(token string) uint16 { return uint16(min(len(token), math.MaxUint16)) } // #nosec G115 -- it is bounded

// call gives the incarnation the name of its instance. What uses say of another one
// stays what it is.
func (i *instance) call(instance string) {
	was := i.instance()
	i.names, i.split = instance+i.incarnation(), lengthOf(instance)
	for k := range i.uses {
		u := &i.uses[k]
		f := u.facts.Value()
		said := was
		if f.other {
			said = f.instance
		}
		u.facts = unique.Make(f.saidBy(said, instance))
	}
}

// saidBy returns the facts of a record that names an instance, where the presence
// names another one or the same.
func (f facts) saidBy(instance, presence string) facts {
	if f.other, f.instance = instance != presence, ""; f.other {
		f.instance = instance
	}
	return f
}

func (i *instance) name() name { return name{i.service(), i.incarnation()} }
func (i *instance) is(n name) bool {
	return i.incarnation() == n.incarnation && i.service() == n.service
}
func (i *instance) service() string                 { return i.vitals.Value().service }
func (i *instance) instance() string                { return i.names[:i.split] }
func (i *instance) incarnation() string             { return i.names[i.split:] }
func (i *instance) stateNow() rollout.InstanceState { return instanceStates[i.state] }
func (i *instance) startedAt() time.Time            { return time.UnixMicro(i.started).UTC() }

// users are the uses of one secret: the instances that have one, in no order.
type users struct {
	id        secret.ID
	number    int // in the order of the first uses
	list      []*instance
	forgotten int // of list
}

// use is what one incarnation does with one secret.
type use struct {
	of     *users
	facts  unique.Handle[facts]
	stored int64 // see nanos
}

// facts is what a use says, without which incarnation says it of which secret and
// when. Thousands of uses say the same, and so it is held once. It leaves out when the
// version was taken into use: nothing depends on it.
type facts struct {
	version, wanted secret.VersionID
	status          events.ApplyStatus
	accepts         string // the versions, each followed by a zero byte
	acceptsAny      bool   // no versions are named
	pastFence       events.PastFence
	fence           int
	joined, ended   bool
	reason, problem string
	other           bool   // the record names another instance than the presence does
	instance        string // that one
}

// factsOf returns what a record says of an instance with a name.
func factsOf(e events.FleetEvent, instance string) facts {
	u := e.Use
	f := facts{
		version: u.VersionID, wanted: u.Wanted, status: u.Status, acceptsAny: u.Accepts == nil,
		pastFence: u.PastFence, fence: u.Fence, joined: u.Joined, ended: u.Ended, reason: u.Reason, problem: e.Problem,
	}
	for _, v := range u.Accepts {
		f.accepts += string(v) + "\x00"
	}
	return f.saidBy(u.Instance, instance)
}

// versions returns what a use accepts, nil for any.
func (f facts) versions() []secret.VersionID {
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

// user returns what is known of an instance without its uses.
func (i *instance) user() events.User {
	v := i.vitals.Value()
	return events.User{
		Presence: events.Presence{
			Service: v.service, Instance: i.instance(), Incarnation: i.incarnation(),
			StartedAt: i.startedAt(), Lease: v.lease, Fleet: v.fleet, Ended: v.ended,
		},
		RenewedAt: moment(i.renewed), Problem: v.problem,
	}
}

// eachSecret calls fn with every secret that the instance uses.
func (i *instance) eachSecret(fn func(secret.ID)) {
	for k := range i.uses {
		fn(i.uses[k].of.id)
	}
}

// find returns where the use of a secret is, or would be.
func (i *instance) find(of *users) (at int, found bool) {
	return slices.BinarySearchFunc(i.uses, of.number, func(u use, number int) int { return cmp.Compare(u.of.number, number) })
}

// use returns the use of a secret that the instance is in the list of.
func (i *instance) use(of *users) *use {
	at, _ := i.find(of)
	return &i.uses[at]
}

// using returns what is known of an instance and of one of its uses.
func (i *instance) using(u *use) events.User {
	out, f := i.user(), u.facts.Value()
	out.Use = events.Use{
		Running: events.Running{SecretID: u.of.id, VersionID: f.version, Status: f.status, Wanted: f.wanted, Reason: f.reason},
		Service: out.Presence.Service, Instance: cmp.Or(f.instance, out.Presence.Instance), Incarnation: out.Presence.Incarnation,
		Accepts: f.versions(), PastFence: f.pastFence, Fence: f.fence, Joined: f.joined, Ended: f.ended,
	}
	out.UsedAt, out.Problem = moment(u.stored), cmp.Or(f.problem, out.Problem)
	if (i.renewed == 0 || f.other) && out.Problem == "" {
		out.Problem = "no presence of the incarnation is stored"
	}
	return out
}
