package inspect

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// MaxReceipts bounds the text of receipts that are checked together, in bytes.
const MaxReceipts = 256 << 20

// Trust says whether the key that signed a receipt is known.
type Trust string

// What is known of a key.
const (
	// TrustYes: the reader named the key.
	TrustYes Trust = "yes"
	// TrustNo: the reader named other keys.
	TrustNo Trust = "no"
	// TrustUnchecked: the reader named no key. Any key can have signed the receipt.
	TrustUnchecked Trust = "not_checked"
)

// CheckedReceipt is what a receipt says, and whether it holds.
type CheckedReceipt struct {
	// Valid is true if the signature fits, the records in the receipt allow the
	// retirement and lead to everything else that it says, it names the receipt before
	// it, and its key is trusted or was not checked.
	Valid bool `json:"valid"`
	// Problem says why it is not valid.
	Problem string `json:"problem,omitempty"`
	// KeyID names the key that signed, "" if the signature does not fit.
	KeyID   string `json:"key_id,omitempty"`
	Trusted Trust  `json:"trusted,omitempty"`
	// SHA256 is what the next receipt about the secret names.
	SHA256 string `json:"sha256,omitempty"`
	// Receipt is nil for one that is not understood.
	Receipt *events.Receipt `json:"receipt,omitempty"`
}

// CheckReceipts checks sealed receipts, one JSON object after the other, as they were
// stored: the signature of each, whether what it records allows the retirement, and
// whether it names the one before it about the same secret. trusts says whether a key
// is trusted; nil checks no trust. It needs nothing but the text.
func CheckReceipts(text []byte, trusts func(ed25519.PublicKey) bool) []CheckedReceipt {
	if len(text) > MaxReceipts {
		return []CheckedReceipt{{Problem: fmt.Sprintf("the receipts have %d bytes, the limit is %d", len(text), MaxReceipts)}}
	}
	var out []CheckedReceipt
	last := map[secret.ID]string{} // :: secret → SHA-256 of its last receipt
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) && len(out) > 0 {
			return out
		}
		if err != nil {
			return append(out, CheckedReceipt{Problem: "it is not a receipt: " + err.Error()})
		}
		c := checkReceipt(raw, trusts)
		if r := c.Receipt; r != nil {
			if before, ok := last[r.SecretID]; ok && (r.Previous == nil || r.Previous.SHA256 != before) {
				c = c.with("it does not name the receipt before it: one is missing or was replaced")
			}
			last[r.SecretID] = c.SHA256
		}
		out = append(out, c)
	}
}

// with returns c with a problem. Of several the first is kept.
func (c CheckedReceipt) with(problem string) CheckedReceipt {
	c.Valid, c.Problem = false, cmp.Or(c.Problem, problem)
	return c
}

func checkReceipt(raw []byte, trusts func(ed25519.PublicKey) bool) (c CheckedReceipt) {
	s, err := events.ParseSealed(raw)
	if err != nil {
		return CheckedReceipt{Problem: err.Error()}
	}
	key, err := s.Key()
	if err != nil {
		return CheckedReceipt{Problem: err.Error()}
	}
	c.KeyID, c.Trusted = s.KeyID, TrustUnchecked
	var r events.Receipt
	if err := s.Open(events.SealedReceipt, &r); err != nil {
		return c.with(err.Error() + "; a later rotator may have written it")
	}
	c.Receipt, c.Valid = &r, true
	if c.SHA256, err = s.Digest(); err != nil {
		c = c.with(err.Error())
	}
	if trusts != nil {
		c.Trusted = TrustYes
		if !trusts(key) {
			c.Trusted = TrustNo
			c = c.with("key " + s.KeyID + " signed it, which is not trusted")
		}
	}
	if err := rollout.Replay(r); err != nil {
		c = c.with(err.Error())
	}
	return c
}

// About reports whether the receipt is about the retirement of a version, or about its
// rollout.
func (c CheckedReceipt) About(v secret.VersionID) bool {
	return c.Receipt != nil && (c.Receipt.VersionID == v || slices.Contains(c.Receipt.Retired, v))
}

// Sentence says in one line what a receipt is about, and whether it holds. Control
// characters are replaced: the text may come from a stranger.
func (c CheckedReceipt) Sentence() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, c.sentence())
}

func (c CheckedReceipt) sentence() string {
	if c.Receipt == nil {
		return "not valid: " + c.Problem
	}
	out := summary(*c.Receipt)
	switch {
	case !c.Valid:
		out += "; not valid: " + c.Problem
	case c.Trusted == TrustUnchecked:
		out += "; valid, signed by key " + c.KeyID + ", whose trust was not checked"
	default:
		out += "; valid, signed by the trusted key " + c.KeyID
	}
	return out
}

// summary says what was decided.
func summary(r events.Receipt) string {
	old := make([]string, len(r.Retired))
	for i, v := range r.Retired {
		old[i] = string(v)
	}
	noun := "version"
	if len(old) != 1 {
		noun = "versions"
	}
	return fmt.Sprintf("%s: %s decided at %s to retire %s %s, replaced by %s, %s; a timer of %s would have broken %s",
		r.SecretID, r.Worker, r.DecidedAt.UTC().Format(time.RFC3339), noun, strings.Join(old, ", "), r.VersionID, basis(r), r.Timer.After, instances(r.Timer.Broken))
}

// basis says what the decision rests on.
func basis(r events.Receipt) string {
	var states []string
	for _, s := range []rollout.InstanceState{rollout.InstanceLive, rollout.InstanceSilent, rollout.InstanceEnded} {
		if n := r.Instances[string(s)]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, s))
		}
	}
	users := "no records of users"
	if states != nil {
		users = "the records of its users (" + strings.Join(states, ", ") + ")"
	}
	out := fmt.Sprintf("on %s through sequence %d", users, r.Barrier.Seq)
	if r.Omitted != nil {
		out += ", not all of which it lists"
	}
	if len(r.Target) > 0 && r.Basis != events.BasisForced {
		out += ", and the target saw no session of an older version"
	}
	if k := r.Soak; k != nil && k.Skipped == "" {
		out += ", after it was suspended from " + k.SuspendedAt.UTC().Format(time.RFC3339)
		if !k.Watched {
			out += " at a target that does not tell whom it refuses"
		}
	} else if k != nil {
		out += ", without a suspension (" + k.Skipped + ")"
	}
	if r.Rules.Proof.TargetUnknown {
		out += ", and the target cannot tell who uses an older version"
	}
	switch r.Basis {
	case events.BasisProof:
	case events.BasisEmergency:
		out += ", as an emergency, which waits for no fence"
		if n := len(r.Breaks); n > 0 {
			out += " and may have broken " + instances(n)
		}
	case events.BasisForced:
		if r.Forced == nil {
			return out + ", without proof"
		}
		out += ", without proof, because " + r.Forced.By + " forced it: " + r.Forced.Reason
		if n := len(r.Breaks); n > 0 {
			out += "; it may have broken " + instances(n)
		}
	case events.BasisConfirmed:
		out += ", and because " + r.Barrier.ConfirmedBy + " confirmed that no user was lost"
	}
	return out
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}
