package evidence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The types of what is sealed.
const (
	sealedLine     = "rotator/evidence-line/v1"
	sealedManifest = "rotator/evidence/v1"
)

// Line is the body of a sealed line of evidence.jsonl. One of the last three fields is
// set.
type Line struct {
	// N counts from 1. Previous is the [events.Sealed.Digest] of the line before, "" for
	// the first, and PreviousIs says what it holds, so that one that is missing has a
	// name.
	N          int    `json:"line"`
	Previous   string `json:"previous,omitempty"`
	PreviousIs string `json:"previous_is,omitempty"`
	// Secret is a managed secret, Record a record of the stream RECORD, and Event an
	// event of the log, the signature of which was checked when it was exported.
	Secret *Secret           `json:"secret,omitempty"`
	Record *Record           `json:"record,omitempty"`
	Event  *inspect.LogEntry `json:"event,omitempty"`
}

// Secret is a member of the population, as it was when the evidence was made.
type Secret struct {
	ID         secret.ID `json:"secret_id"`
	Store      string    `json:"store"`
	Path       string    `json:"path"`
	Discovered bool      `json:"discovered"`
	Owner      string    `json:"owner,omitempty"`
	Purpose    string    `json:"purpose,omitempty"`
	Contact    string    `json:"contact,omitempty"`
	Services   []string  `json:"services"`
	Consumers  []string  `json:"consumers_without_client"`
	// Policy is the policy of its values, PolicyID the hash of it. Durations are texts.
	Policy    secret.Policy     `json:"policy"`
	PolicyID  string            `json:"policy_id"`
	Strategy  string            `json:"strategy"`
	Lifetime  string            `json:"lifetime"`
	Margin    string            `json:"margin"`
	Grace     string            `json:"grace"`
	Fence     string            `json:"fence"`
	Retire    secret.RetireMode `json:"retire"`
	VersionID secret.VersionID  `json:"version_id,omitempty"`
	CreatedAt time.Time         `json:"created_at,omitzero"`
	NotAfter  time.Time         `json:"not_after,omitzero"`
	RotateAt  time.Time         `json:"rotate_at,omitzero"`
	State     string            `json:"state"`
	// Instances counts the users by state: live, ended, silent. Safe is the answer to
	// whether every older version may be revoked, "" without one.
	Instances map[rollout.InstanceState]int `json:"instances,omitempty"`
	Safe      rollout.Answer                `json:"safe_to_revoke,omitempty"`
	Error     string                        `json:"error,omitempty"`
}

// newSecret returns what evidence says of a secret.
func newSecret(s inspect.Secret) *Secret {
	out := &Secret{
		ID: s.SecretID, Store: s.Store, Path: s.Path, Discovered: s.Discovered, Owner: s.Owner, Purpose: s.Purpose, Contact: s.Contact,
		Services: append([]string{}, s.Services...), Consumers: []string{}, Policy: s.Spec.ValuePolicy(), Strategy: string(s.Spec.Strategy),
		Lifetime: length(s.Spec.Lifetime(s.Meta)), Margin: length(s.Spec.Margin()), Grace: length(s.Spec.GracePeriod()), Fence: length(s.Spec.FencePeriod()),
		Retire: s.Spec.RetireMode(), VersionID: s.VersionID, CreatedAt: s.CreatedAt.UTC(), NotAfter: s.NotAfter.UTC(), RotateAt: s.RotateAt.UTC(),
		State: string(s.Reason), Error: s.Error,
	}
	out.PolicyID = out.Policy.Hash()
	for _, c := range s.Spec.Proof.Consumers {
		out.Consumers = append(out.Consumers, c.Name)
	}
	if s.SafeToRevoke != nil {
		out.Instances, out.Safe = s.SafeToRevoke.Instances, s.SafeToRevoke.Answer
	}
	return out
}

func length(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return secret.FormatDuration(d)
}

// Record is one message of the stream of records.
type Record struct {
	Seq     uint64    `json:"sequence"`
	At      time.Time `json:"stored_at"`
	Subject string    `json:"subject"`
	// Trusted is false for a record that is sealed by no key that was trusted when the
	// evidence was made. It means nothing for one that is never sealed.
	Trusted bool `json:"trusted"`
	// JSON is the record as it was stored, and Raw the same of one that is not compact
	// JSON.
	JSON json.RawMessage `json:"json,omitempty"`
	Raw  []byte          `json:"raw,omitempty"`
}

// newRecord returns a record as it is exported.
func newRecord(r events.StoredRecord) *Record {
	out := &Record{Seq: r.Seq, At: r.At.UTC(), Subject: r.Subject}
	same, err := json.Marshal(json.RawMessage(r.Data))
	if err == nil && bytes.Equal(same, r.Data) {
		out.JSON = same
	} else {
		out.Raw = r.Data
	}
	return out
}

// text returns the record as it was stored.
func (r *Record) text() []byte {
	if r.JSON != nil {
		return r.JSON
	}
	return r.Raw
}

// what names what a line holds, for a person who has to find it.
func (l Line) what() string {
	switch {
	case l.Secret != nil:
		return fmt.Sprintf("line %d (secret %s:%s)", l.N, l.Secret.Store, l.Secret.Path)
	case l.Record != nil:
		return fmt.Sprintf("line %d (record %d, %s)", l.N, l.Record.Seq, l.Record.Subject)
	case l.Event != nil:
		return fmt.Sprintf("line %d (event %d, %s of %s)", l.N, l.Event.Seq, l.Event.Type, l.Event.Data.SecretID)
	default:
		return fmt.Sprintf("line %d", l.N)
	}
}
