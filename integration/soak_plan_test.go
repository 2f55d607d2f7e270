//go:build !race

package integration

import (
	"math/rand/v2"
	"time"
)

// The kinds of faults.
const (
	soakKill     = "kill"
	soakStop     = "stop"
	soakCutBus   = "cut from bus"
	soakCutStore = "cut from store"
	soakCutBoth  = "cut from bus and store"
)

// What a fault is done to where an agent and a program make up an instance.
const (
	soakTheProgram = "program"
	soakTheAgent   = "agent"
	soakBoth       = "both"
)

// soakFault is one fault of the plan.
type soakFault struct {
	at, last time.Duration
	host     int
	kind     string
	which    string
}

// soakPlan draws the faults of a run. The instances are numbered, those with an agent
// from agents on. No two faults of one instance overlap, and all are over at the end.
//
// Most faults come soon after each other. Now and then there is none for a while, so
// that rollouts end.
//
// A process is stopped for longer than its lease, the grace period and the fence
// together. The lease of an agent is long, and nothing is retired while an agent that
// has not delivered is stopped: one at a time is, and then none for a while. The first
// fault is such a stop if there is time for it. If its silence were taken for an end
// the rollout would converge after one lease, and retire after another one.
func soakPlan(seed uint64, length time.Duration, hosts, agents int) []soakFault {
	r := rand.New(rand.NewPCG(seed, seed))
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	var plan []soakFault
	free := make([]time.Duration, hosts)
	agentStop := time.Duration(0)
	if f := (soakFault{host: agents + r.IntN(hosts-agents), kind: soakStop, which: soakTheAgent, last: 2*soakAgentLease + soakRecovery}); f.last < length {
		plan, free[f.host], agentStop = append(plan, f), f.last+soakFence, f.last+soakAgentLease
	}
	for at := soakLease; at < length; at += pause(r.IntN(4), between) {
		f := soakFault{
			at: at, host: r.IntN(hosts), last: between(soakFence/4, 4*soakFence),
			kind:  []string{soakKill, soakStop, soakCutBus, soakCutStore, soakCutBoth}[r.IntN(5)],
			which: []string{soakTheProgram, soakTheAgent, soakBoth}[r.IntN(3)],
		}
		if f.kind == soakStop {
			f.last = soakLease + soakGrace + soakFence + between(soakFence/4, 2*soakFence)
		}
		if f.kind == soakStop && f.host >= agents && f.which != soakTheProgram && at >= agentStop {
			f.last += soakAgentLease - soakLease + time.Duration(r.IntN(2))*soakAgentLease
			agentStop = at + f.last + soakAgentLease
		}
		if at < free[f.host] || at+f.last > length {
			continue
		}
		free[f.host] = at + f.last + soakFence
		plan = append(plan, f)
	}
	return plan
}

// pause draws the time to the next fault.
func pause(of4 int, between func(from, to time.Duration) time.Duration) time.Duration {
	if of4 == 0 {
		return between(4*time.Second, 10*time.Second)
	}
	return between(200*time.Millisecond, 1200*time.Millisecond)
}
