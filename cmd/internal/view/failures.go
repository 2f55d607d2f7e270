package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// failures are the different errors of secrets, in the order in which they come. Many
// secrets may have the same one: it is printed once.
type failures struct {
	texts []string
	count map[string]int
}

func newFailures() *failures { return &failures{count: map[string]int{}} }

// of returns what stands in a table for an error, "" for none, and counts it.
func (f *failures) of(text string) string {
	if text == "" {
		return ""
	}
	if f.count[text]++; f.count[text] == 1 {
		f.texts = append(f.texts, text)
	}
	return fmt.Sprintf("error %d", slices.Index(f.texts, text)+1)
}

// String returns a line for each error, with the number of secrets that have it.
func (f *failures) String() string {
	var b strings.Builder
	for i, text := range f.texts {
		noun := "secrets"
		if f.count[text] == 1 {
			noun = "secret"
		}
		fmt.Fprintf(&b, "  error %d (%d %s): %s\n", i+1, f.count[text], noun, text)
	}
	return b.String()
}

// where returns the lines that say since when a rollout is where it is, why, and when
// the version before dies; none for one that is over.
func where(s inspect.Secret, now time.Time) string {
	if s.Rollout == "" || s.Rollout == events.RolloutRetired || s.Rollout == events.RolloutConverged && s.Previous == "" {
		return ""
	}
	out := fmt.Sprintf("  %s is %s\n", name(s), s.RolloutSentence(now))
	if s.Previous != "" && s.SafeToRevoke == nil {
		out += fmt.Sprintf("  %s: %s\n", name(s), s.OldSentence(now))
	} else if s.Previous != "" && !s.RetireAt.IsZero() {
		out += fmt.Sprintf("  %s: version %s dies at %s (in %s)\n", name(s), ShortID(s.Previous), s.RetireAt.UTC().Format(time.RFC3339), about(max(0, s.RetireAt.Sub(now))))
	}
	return out
}
