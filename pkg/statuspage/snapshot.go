package statuspage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// Check is one thing about the program itself.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// Snapshot is what the page shows. Its JSON form is the answer to ?format=json.
type Snapshot struct {
	Program string `json:"program"`
	Version string `json:"version"`
	// Note says what the program cannot know, such as that it opens no store.
	Note string `json:"note,omitempty"`
	// At is when the snapshot was complete, zero before the first one. Seconds is how
	// long it took.
	At      time.Time `json:"at,omitzero"`
	Seconds float64   `json:"seconds"`
	// Error is why the secrets could not be read at all. They are those of the snapshot
	// before then, or none.
	Error    string            `json:"error,omitempty"`
	Problems []inspect.Problem `json:"problems"`
	Health   []Check           `json:"health"`
	Secrets  []inspect.Secret  `json:"secrets"`

	acting bool // acts are offered
}

// Within returns the secrets that rotate within d of the snapshot, the earliest first.
func (s *Snapshot) Within(d time.Duration) []inspect.Secret {
	var out []inspect.Secret
	for _, one := range s.Secrets {
		if !one.RotateAt.IsZero() && one.RotateAt.Before(s.At.Add(d)) {
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b inspect.Secret) int { return a.RotateAt.Compare(b.RotateAt) })
	return out
}

// Rollouts returns the secrets whose rollout is on its way or ended within d before
// the snapshot: the stalled ones first, then the latest.
func (s *Snapshot) Rollouts(d time.Duration) []inspect.Secret {
	var out []inspect.Secret
	for _, one := range s.Secrets {
		if one.Timeline == nil {
			continue
		}
		if one.Previous != "" && one.Rollout != events.RolloutRetired || s.At.Sub(one.Timeline.Since) < d && !one.Timeline.Since.IsZero() {
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b inspect.Secret) int {
		if x, y := a.Rollout == events.RolloutStalled, b.Rollout == events.RolloutStalled; x != y {
			if x {
				return -1
			}
			return 1
		}
		return b.Timeline.AnnouncedAt.Compare(a.Timeline.AnnouncedAt)
	})
	return out
}

// waiting is one instance or service that a secret waits for.
type waiting struct {
	Secret inspect.Secret
	events.Blocker
}

// waiting returns what the rollouts wait for, silent instances first.
func (s *Snapshot) waiting() []waiting {
	var out []waiting
	for _, one := range s.Secrets {
		if one.Rollout == events.RolloutRetired {
			continue // nothing is left to wait for
		}
		for _, b := range one.Blocking {
			out = append(out, waiting{one, b})
		}
	}
	slices.SortStableFunc(out, func(a, b waiting) int { return rank(a.Reason) - rank(b.Reason) })
	return out
}

// Who names the instance, the service or the consumer.
func (w waiting) Who() string {
	if w.Instance == "" {
		return cmp.Or(w.Service, "its users")
	}
	return w.Service + "/" + w.Instance
}

func rank(r events.BlockReason) int {
	switch r {
	case events.BlockSilent:
		return 0
	case events.BlockFailed:
		return 1
	default:
		return 2
	}
}

// take reads everything once.
func (p *Page) take(ctx context.Context, last *Snapshot) *Snapshot {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	s := &Snapshot{Program: p.cfg.Program, Version: p.cfg.Version, Note: p.cfg.Note, Health: p.cfg.Health(ctx), acting: p.cfg.Acts != nil}
	all, err := p.cfg.Secrets(ctx)
	if err != nil {
		s.Error, all = err.Error(), last.Secrets
	}
	s.Secrets = all
	if s.Secrets == nil {
		s.Secrets = []inspect.Secret{} // an empty array is one in JSON, too
	}
	if err == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.Note = strings.TrimPrefix(s.Note+" Not everything could be read within "+p.cfg.Deadline.String()+"; the rest is unknown.", " ")
	}
	s.At, s.Seconds = time.Now(), time.Since(begin).Seconds()
	s.Problems = p.problems(s)
	return s
}

// examine is the command for what is wrong with the program itself.
const examine = "rotator doctor"

// problems returns what a person has to act on, the oldest first. A problem without a
// beginning has that of the snapshot which had it first.
func (p *Page) problems(s *Snapshot) []inspect.Problem {
	out := []inspect.Problem{}
	if s.Error != "" {
		out = append(out, inspect.Problem{Subject: s.Program, Sentence: "the secrets cannot be read: " + s.Error, Remedy: "below is what was read last", Command: examine})
	}
	for _, c := range s.Health {
		if !c.OK {
			out = append(out, inspect.Problem{Subject: s.Program, Sentence: c.Name + ": " + c.Reason, Command: examine})
		}
	}
	out = append(out, merge(s.Secrets)...)
	seen := make(map[string]time.Time, len(out))
	for i := range out {
		key := out[i].Subject + "\x00" + out[i].Command
		if out[i].Command == examine {
			what, _, _ := strings.Cut(out[i].Sentence, ":")
			key = what
		}
		if out[i].Since.IsZero() {
			out[i].Since = s.At
			if since, ok := p.seen[key]; ok {
				out[i].Since = since
			}
			seen[key] = out[i].Since
		}
	}
	p.seen = seen
	slices.SortStableFunc(out, func(a, b inspect.Problem) int { return a.Since.Compare(b.Since) })
	return out
}

// alike is how many secrets may have the same problem before they share one line.
const alike = 3

// merge returns the problems of secrets. Many that read the same are one: a store that
// is down concerns every secret in it.
func merge(all []inspect.Secret) []inspect.Problem {
	var order []string
	same := map[string][]inspect.Problem{}
	for _, s := range all {
		for _, p := range s.Problems() {
			key := strings.NewReplacer(string(s.SecretID)+" ", "", s.Path, "").Replace(p.Sentence)
			if same[key] == nil {
				order = append(order, key)
			}
			same[key] = append(same[key], p)
		}
	}
	var out []inspect.Problem
	for _, key := range order {
		group := same[key]
		if len(group) <= alike {
			out = append(out, group...)
			continue
		}
		p := group[0]
		p.Subject = fmt.Sprintf("%s and %d more", p.Subject, len(group)-1)
		out = append(out, p)
	}
	return out
}
