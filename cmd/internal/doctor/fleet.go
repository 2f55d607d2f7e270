package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// specs returns what is configured for each secret.
func (f Facts) specs() map[secret.ID]secret.Spec {
	out := map[secret.ID]secret.Spec{}
	for _, s := range f.Secrets {
		out[s.SecretID] = s.Spec
	}
	return out
}

// process is one incarnation, and what it uses.
type process struct{ service, instance, incarnation string }

func (p process) String() string { return p.service + "/" + p.instance }

func of(u events.User) process {
	return process{u.Use.Service, u.Use.Instance, u.Use.Incarnation}
}

// silent is about incarnations that were not heard of and have not ended. One whose
// silence is longer than its fence may be forgotten by the programs themselves.
func silent(f Facts) []Finding {
	specs := f.specs()
	uses := map[process][]events.User{}
	for _, u := range f.Fleet.Users {
		if rollout.StateOf(u, f.Fleet.At) == rollout.InstanceSilent && !rollout.Forgettable(u, f.Fleet.At, specs[u.Use.SecretID]) {
			uses[of(u)] = append(uses[of(u)], u)
		}
	}
	var out []Finding
	for p, all := range uses {
		var ids []secret.ID
		serves := false
		for _, u := range all {
			ids = append(ids, u.Use.SecretID)
			serves = serves || u.Use.PastFence != events.PastFenceRefuse
		}
		evidence := "it has not renewed its presence since " + all[0].RenewedAt.UTC().Format("2006-01-02T15:04:05Z07:00") + ", and uses " + named(ids)
		if all[0].RenewedAt.IsZero() {
			evidence = all[0].Problem + ", and it uses " + named(ids)
		}
		remedy := fmt.Sprintf("rotator forget %s --reason 'its process is gone'", p)
		if serves {
			out = append(out, broken(CodeSilent, p.String(), evidence+"; it may use them for ever: make sure that its process is gone", remedy))
			continue
		}
		out = append(out, doubtful(CodeSilent, p.String(), evidence+"; it refuses them after its fence, so nothing has to be done: forget it only if its process is gone for certain and you cannot wait", remedy))
	}
	return out
}

// live returns the users that live.
func (f Facts) live() []events.User {
	return slices.DeleteFunc(slices.Clone(f.Fleet.Users), func(u events.User) bool {
		return rollout.StateOf(u, f.Fleet.At) != rollout.InstanceLive
	})
}

// absent is about services that are listed and that no instance runs.
func absent(f Facts) []Finding {
	if f.Bus != nil || f.Fleet.At.IsZero() {
		return nil
	}
	runs := map[string]bool{}
	for _, u := range f.live() {
		runs[u.Use.Service] = true
	}
	waits := map[string][]secret.ID{}
	for _, s := range f.Secrets {
		for _, service := range s.Spec.Services {
			if _, job := s.Spec.Job(service); !job && !runs[service] {
				waits[service] = append(waits[service], s.SecretID)
			}
		}
	}
	var out []Finding
	for service, ids := range waits {
		out = append(out, broken(CodeAbsent, service, fmt.Sprintf("no instance of it runs, and old versions of %s are kept until one does; start it, or list it no longer", named(ids)), "rotator explain "+string(ids[0])))
	}
	return out
}

// unlisted is about instances that use what they are not listed for.
func unlisted(f Facts) []Finding {
	specs := f.specs()
	type use struct {
		service string
		id      secret.ID
	}
	found := map[use]string{}
	for _, u := range f.live() {
		spec, managed := specs[u.Use.SecretID]
		k := use{u.Use.Service, u.Use.SecretID}
		switch {
		case u.Use.SecretID == "" || slices.Contains(spec.Services, u.Use.Service):
		case !managed:
			found[k] = fmt.Sprintf("%s uses %s, which is not managed", of(u), k.id)
		default:
			found[k] = fmt.Sprintf("%s uses %s, and is not listed under its services", of(u), k.id)
		}
	}
	var out []Finding
	for _, k := range slices.Collect(maps.Keys(found)) {
		out = append(out, doubtful(CodeUnlisted, k.service, found[k]+"; list it, or stop it", command("explain", inspect.Secret{SecretID: k.id})))
	}
	return out
}

// old is about clients that cannot tell what they accept, or refuse past a fence.
func old(f Facts) []Finding {
	found := map[string][]string{}
	for _, u := range f.live() {
		older := u.Use.Incarnation == "" || u.Use.Incarnation == events.OlderIncarnation(u.Use.Instance)
		if (older || u.Use.SecretID != "" && u.Use.Accepts == nil) && !slices.Contains(found[u.Use.Service], u.Use.Instance) {
			found[u.Use.Service] = append(found[u.Use.Service], u.Use.Instance)
		}
	}
	var out []Finding
	for service, who := range found {
		slices.Sort(who)
		out = append(out, doubtful(CodeOldClient, service, fmt.Sprintf("the client of %s is too old to fence: it serves every version for as long as it runs (in Python, upgrade tradepulse-rotator)", named(who)),
			"go get github.com/tradepulse/rotator@latest"))
	}
	return out
}

// mostRecords names the service that most records in the stream of uses are about, ""
// if there is none. The service is part of the subject of a record, which no account
// but its own may publish to, so that it is known of records that are not understood.
func (f Facts) mostRecords() string {
	records := map[string]int{}
	all := 0
	present := map[process]bool{}
	for _, u := range f.Fleet.Users {
		n := 1 // its use, or its presence if it uses nothing
		if !present[of(u)] && !u.RenewedAt.IsZero() && u.Use.SecretID != "" {
			n++
		}
		present[of(u)] = true
		records[u.Use.Service] += n
		all += n
	}
	if all == 0 {
		return ""
	}
	services := slices.Sorted(maps.Keys(records))
	most := slices.MaxFunc(services, func(a, b string) int { return cmp.Compare(records[a], records[b]) })
	return fmt.Sprintf("; %d of %d records of instances are those of the service %s", records[most], all, most)
}
