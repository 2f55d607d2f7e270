//go:build !race

package model

import (
	"flag"
	"testing"
	"time"
)

var limit = flag.Int("model.states", 750_000, "how many states of each world are searched")

func worlds() []*world {
	return []*world{
		{name: "refuse", n: 1, versions: 2, workersN: 1, refuse: true, restarts: true},
		{name: "loss", n: 1, versions: 2, workersN: 1, refuse: true, loses: true},
		{name: "purge", n: 1, versions: 2, workersN: 1, refuse: true, purges: true},
		{name: "accept", n: 1, versions: 2, workersN: 1, refuse: true, accepts: true},
		{name: "serve", n: 1, versions: 2, workersN: 1, restarts: true, loses: true},
		{name: "serve and accept", n: 1, versions: 2, workersN: 1, accepts: true},
		{name: "full", n: 1, versions: 2, workersN: 1, startsAlone: true, full: true},
		{name: "garbled", n: 1, versions: 2, workersN: 1, garbled: true},
		{name: "two services", n: 1, versions: 2, workersN: 1, startsAlone: true, other: true},
		{name: "job", n: 1, versions: 2, workersN: 1, job: true},
		{name: "consumer", n: 1, versions: 3, workersN: 1, consumer: true},
		{name: "after", n: 1, versions: 3, workersN: 1, consumer: true, after: true, answers: true},
		{name: "fleets", n: 1, versions: 2, workersN: 1, startsAlone: true, fleets: true, restarts: true},
		{name: "presumed", n: 1, versions: 2, workersN: 1, presumes: true, restarts: true, answers: true},
		{name: "garbled and presumed", n: 1, versions: 2, workersN: 1, garbled: true, presumes: true, unjoined: true},
		{name: "emergency", n: 1, versions: 2, workersN: 1, refuse: true, restarts: true, emergencies: true},
		{name: "emergency and serve", n: 1, versions: 2, workersN: 1, restarts: true, emergencies: true},
		{name: "force", n: 1, versions: 2, workersN: 1, refuse: true, restarts: true, forces: true},
		{name: "people", versions: 3, workersN: 2, rotations: true, persons: true},
		{name: "log", n: 2, versions: 3, workersN: 1, refuse: true, notifiers: 2, plain: true},
		{name: "rotations", n: 1, versions: 3, workersN: 2, refuse: true, notifiers: 1, rotations: true, plain: true},
		{name: "rollout", n: 3, versions: 3, workersN: 2, refuse: true, kind: [3]uint8{0, 0, 1}, notifiers: 2, rotations: true, crashes: true, accepts: true},
	}
}

// everySo is how many states lie between two in which the faults stop.
const everySo = 2000

func TestModel(t *testing.T) {
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			begin, seen := time.Now(), 0
			f := w.search(*limit, func(s state) string {
				if seen++; seen%everySo != 1 {
					return ""
				}
				return w.stuck(s)
			})
			t.Logf("%s; the faults stopped in %d of them; %s", f, 1+seen/everySo, time.Since(begin).Round(time.Millisecond))
			if f.broken != "" {
				t.Error(f.broken)
			}
		})
	}
}
