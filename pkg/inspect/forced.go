package inspect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Forced says which versions a person had destroyed without proof.
type Forced struct {
	events.Forced

	Versions []secret.VersionID `json:"version_ids"`
	At       time.Time          `json:"at"`
	// Breaks are the instances that used them, by the records of that time.
	Breaks []events.Blocker `json:"breaks,omitempty"`
}

// forced adds to what is known of a secret that the last retirement rests on no proof.
func (v *View) forced(ctx context.Context, s *Secret) error {
	if v.bus == nil || s.SecretID == "" {
		return nil
	}
	r, ok, err := v.bus.LastRetirement(ctx, s.SecretID)
	if err == nil && ok && r.Basis == events.BasisForced && r.Forced != nil {
		s.Forced = &Forced{Forced: *r.Forced, Versions: r.Retired, At: r.DecidedAt, Breaks: r.Breaks}
	}
	return err
}

// String says it in one line.
func (f Forced) String() string {
	old := make([]string, len(f.Versions))
	for i, v := range f.Versions {
		old[i] = string(v)
	}
	out := fmt.Sprintf("version %s was revoked without proof at %s by %s: %s", strings.Join(old, ", "), f.At.UTC().Format(time.RFC3339), f.By, f.Reason)
	if n := len(f.Breaks); n > 0 {
		out += fmt.Sprintf("; %s may use it, first %s", instances(n), f.Breaks[0])
	}
	return out
}
