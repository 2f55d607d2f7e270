package doctor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const (
	// runNode is the remedy for what a start of a program makes or ends.
	runNode = "rotator run"
	// maxSkew is from which difference of clocks on orders and leases go wrong.
	maxSkew = 10 * time.Second
	// nearFull is from which part of a bound on, in percent, it counts as near.
	nearFull = 80
	// staleSweeps is after how many intervals without a sweep none is running.
	staleSweeps = 3
)

func reached(f Facts) []Finding {
	if f.Bus == nil {
		return nil
	}
	if errors.Is(f.Bus, nats.ErrPermissionViolation) || errors.Is(f.Bus, nats.ErrAuthorization) {
		return []Finding{broken(CodeBusPermission, "bus", "the bus refuses this program: "+f.Bus.Error(), "rotator config schema")}
	}
	return []Finding{broken(CodeBusUnreachable, "bus", "the bus was not reached, so that nothing is known of timers, rollouts and instances: "+f.Bus.Error(), runNode)}
}

func unread(f Facts) []Finding {
	out := make([]Finding, 0, len(f.Unread))
	for _, u := range f.Unread {
		out = append(out, cannot(u.What, u.What+" could not be read", u.Err))
	}
	return out
}

// cannot returns the finding about something that cannot be read.
func cannot(subject, what string, err error) Finding {
	evidence := what + ": " + err.Error()
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return broken(CodeBusPermission, subject, evidence, "rotator doctor --json")
	case errors.Is(err, store.ErrAccessDenied):
		return broken(CodeStorePermission, subject, evidence, "rotator doctor --json")
	case errors.Is(err, events.ErrUntrusted):
		return broken(CodeUntrusted, subject, evidence+"; add the public key of the program that signed it to signing.trusted_keys, or find out who forges it", "rotator doctor --json")
	default:
		return broken(CodeUnread, subject, evidence, "rotator doctor --json")
	}
}

func streams(f Facts) []Finding {
	var out []Finding
	for _, s := range f.Streams {
		switch {
		case errors.Is(s.Err, nats.ErrPermissionViolation):
			out = append(out, cannot("stream "+s.Stream, "its state could not be read", s.Err))
		case s.Err != nil:
			out = append(out, broken(CodeStream, "stream "+s.Stream, "the stream does not answer: "+s.Err.Error(), runNode))
		case s.Missing > 0:
			out = append(out, doubtful(CodeReplica, "stream "+s.Stream, fmt.Sprintf("%d of its %d replicas are not current", s.Missing, s.Replicas), "nats stream info "+s.Stream))
		}
	}
	return out
}

func quotas(f Facts) []Finding {
	var out []Finding
	bound := func(subject, what string, have, most int64) {
		var of string
		if subject == "stream "+f.Uses {
			of = f.mostRecords()
		}
		switch {
		case most <= 0 || have*100 < most*nearFull:
		case have >= most:
			out = append(out, broken(CodeQuota, subject, fmt.Sprintf("it is full: it has %d of %d %s, and refuses more%s", have, most, what, of), "rotator status"))
		default:
			out = append(out, doubtful(CodeQuota, subject, fmt.Sprintf("it has %d of %d %s%s", have, most, what, of), "rotator status"))
		}
	}
	for _, s := range f.Streams {
		bound("stream "+s.Stream, "bytes", s.Bytes, s.MaxBytes)
		bound("stream "+s.Stream, "messages", s.Messages, s.MaxMessages)
	}
	bound("account", "bytes", int64(f.Account.Bytes), int64(f.Account.MaxBytes))
	bound("account", "streams", int64(f.Account.Streams), int64(f.Account.MaxStreams))
	bound("account", "consumers", int64(f.Account.Consumers), int64(f.Account.MaxConsumers))
	return out
}

func clocks(f Facts) []Finding {
	var worst time.Duration
	var at string
	for _, s := range f.Streams {
		if s.Known && s.Skew.Abs() > worst.Abs() {
			worst, at = s.Skew, s.Stream
		}
	}
	if worst.Abs() <= maxSkew {
		return nil
	}
	return []Finding{broken(CodeClock, "clock", fmt.Sprintf("the clock of the server of stream %s is %s ahead of this machine's", at, worst.Round(time.Millisecond)), "timedatectl set-ntp true")}
}

func keys(f Facts) []Finding {
	if f.Key == nil {
		return nil
	}
	return []Finding{broken(CodeOwnKey, "signing.key", "programs reject what this one orders: "+f.Key.Error()+"; add its public key to signing.trusted_keys", "rotator config schema")}
}

// served says what waits for a consumer that no program serves.
var served = map[string]string{
	events.WorkerConsumer: "no worker runs: nothing is rotated and nothing is retired", events.EmergencyConsumer: "no worker runs for emergencies",
	events.SchedulerConsumer: "no scheduler runs: timers are not set, and what is lost is not found again", events.NotifierConsumer: "no notifier runs: services are not told of new versions",
	events.EventBridgeConsumer: "no program forwards announcements to Amazon EventBridge",
}

func roles(f Facts) []Finding {
	var out []Finding
	for _, c := range f.Consumers {
		switch {
		case c.Known && c.Missing:
			out = append(out, broken(CodeNoConsumer, "consumer "+c.Name, "the server has no consumer "+c.Name+" on stream "+c.Stream+", which a start makes", runNode))
		case c.Known && !c.Served:
			out = append(out, broken(CodeNotServed, "consumer "+c.Name, fmt.Sprintf("%s; %s in stream %s for it", served[c.Name], waits(c.Waiting), c.Stream), runNode))
		}
	}
	return out
}

func waits(n uint64) string {
	if n == 1 {
		return "1 message waits"
	}
	return fmt.Sprintf("%d messages wait", n)
}

func sweeps(f Facts) []Finding {
	if f.Swept == nil || f.SweepEvery <= 0 || *f.Swept <= staleSweeps*f.SweepEvery {
		return nil
	}
	return []Finding{broken(CodeNoSweep, "scheduler", fmt.Sprintf("the last sweep ended %s ago, and one begins each %s", f.Swept.Round(time.Second), f.SweepEvery), runNode).with(Fix{Kind: FixSweep})}
}

func orphans(f Facts) []Finding {
	var out []Finding
	for _, c := range f.Consumers {
		if c.Known || c.Served || c.Idle < f.Idle {
			continue
		}
		out = append(out, doubtful(CodeOrphaned, "consumer "+c.Name,
			fmt.Sprintf("no program of this version uses the consumer %s of stream %s, which is idle for %s; %s", c.Name, c.Stream, c.Idle.Round(time.Second), waits(c.Waiting)),
			"rotator doctor --fix").with(Fix{Kind: FixConsumer, Stream: c.Stream, Consumer: c.Name}))
	}
	return out
}

func configs(f Facts) []Finding {
	var out []Finding
	if len(f.Nodes) == 0 && slices.ContainsFunc(f.Consumers, func(c events.ConsumerState) bool { return c.Known && c.Served }) {
		return []Finding{doubtful(CodeUnread, "configuration", "no program that runs says its configuration: it is older than this command, or may not subscribe to program.*", "rotator version")}
	}
	for _, n := range f.Nodes {
		if text := n.Warning(f.Config); text != "" {
			out = append(out, doubtful(CodeConfig, n.Source, text, "rotator reload"))
		}
	}
	return out
}

func timers(f Facts) []Finding {
	known := map[secret.ID]bool{}
	for _, s := range f.Secrets {
		if s.SecretID == "" && s.Err != nil {
			return nil // a store was not listed: its secrets are not known
		}
		known[s.SecretID] = true
	}
	var out []Finding
	for _, id := range f.Timers {
		if !known[id] {
			out = append(out, doubtful(CodeTimerUnknown, string(id), "a timer is set for it, and neither this configuration nor a tag says that it is managed", "rotator events "+string(id)))
		}
	}
	return out
}
