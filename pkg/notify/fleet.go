package notify

import (
	"maps"
	"slices"
	"sync"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// instance names one process of a service.
type instance struct{ service, name string }

// fleet is what the live instances run, by secret, so that one report touches
// the secrets it is about and no others. It is safe for concurrent use.
type fleet struct {
	mu      sync.RWMutex
	running map[secret.ID]map[instance]events.Running
	reports map[instance][]secret.ID // :: instance → what it reported last
}

func newFleet() *fleet {
	return &fleet{running: map[secret.ID]map[instance]events.Running{}, reports: map[instance][]secret.ID{}}
}

// apply takes a change of the fleet and returns the secrets for which it may
// matter.
func (f *fleet) apply(e events.ReportEvent) []secret.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := instance{e.Report.Service, e.Report.Instance}
	var changed, now []secret.ID
	for _, run := range e.Report.Secrets {
		id := run.SecretID
		now = append(now, id)
		if f.running[id] == nil {
			f.running[id] = map[instance]events.Running{}
		}
		was, known := f.running[id][who]
		run.At = was.At // not part of what is compared
		if !known || was != run {
			f.running[id][who] = run
			changed = append(changed, id)
		}
	}
	for _, id := range f.reports[who] {
		if !slices.Contains(now, id) {
			delete(f.running[id], who)
			if len(f.running[id]) == 0 {
				delete(f.running, id)
			}
			changed = append(changed, id)
		}
	}
	if e.Gone {
		delete(f.reports, who)
	} else {
		f.reports[who] = now
	}
	return changed
}

// of returns what is reported of one secret.
func (f *fleet) of(id secret.ID) []events.Report {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := make([]events.Report, 0, len(f.running[id]))
	for who, run := range f.running[id] {
		out = append(out, events.Report{Service: who.service, Instance: who.name, Secrets: []events.Running{run}})
	}
	return out
}

// services returns the services that report a secret.
func (f *fleet) services(id secret.ID) []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	set := map[string]struct{}{}
	for who := range f.running[id] {
		set[who.service] = struct{}{}
	}
	return slices.Collect(maps.Keys(set))
}

// sizes returns how many instances each service has.
func (f *fleet) sizes() map[string]int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := map[string]int64{}
	for who := range f.reports {
		out[who.service]++
	}
	return out
}
