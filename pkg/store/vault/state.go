package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// state is what the driver keeps beside a secret.
type state struct {
	// Incarnation is when the metadata of the secret was made, as the server
	// writes it: a secret made anew knows nothing of the one before. "" while
	// there is none.
	Incarnation string              `json:"incarnation,omitempty"`
	Pending     *pending            `json:"pending,omitempty"`
	Versions    map[string]recorded `json:"versions,omitempty"` // :: version number → what the engine does not keep

	revision int // of the state itself, for check-and-set
}

// pending is a version that waits for its promotion from From to From+1.
type pending struct {
	Token     secret.Token   `json:"token"`
	From      int            `json:"from"`
	Data      map[string]any `json:"data"`
	CreatedAt time.Time      `json:"created_at"`
	Lifetime  time.Duration  `json:"lifetime,omitzero"` // in ns
	NotAfter  time.Time      `json:"not_after,omitzero"`
}

// recorded is what is remembered of a version.
type recorded struct {
	Token    secret.Token  `json:"token,omitempty"`
	Lifetime time.Duration `json:"lifetime,omitzero"` // in ns
	NotAfter time.Time     `json:"not_after,omitzero"`
	Kept     bool          `json:"kept,omitempty"`
	Unstaged bool          `json:"unstaged,omitempty"` // by secret.RetireLater
}

// end returns the end of a version that the engine wrote at a time of its own clock.
func (r recorded) end(created time.Time) time.Time {
	return store.Write{Lifetime: r.Lifetime, NotAfter: r.NotAfter}.End(created)
}

func (p *pending) id() secret.VersionID { return versionID(p.From + 1) }

func (p *pending) value() (secret.Value, error) {
	v, _, err := decode(p.Data)
	return v, err
}

// scrub returns err without the value, which a server may quote.
func (p *pending) scrub(err error) error {
	if p == nil || err == nil {
		return err
	}
	v, _ := p.value()
	doc, _ := json.Marshal(p.Data)
	return secret.Scrub(err, v, secret.NewValue(doc))
}

func versionID(n int) secret.VersionID { return secret.VersionID(strconv.Itoa(n)) }

// number returns the number of a version, 0 when the id is none.
func number(v secret.VersionID) int {
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 1 || strconv.Itoa(n) != string(v) {
		return 0
	}
	return n
}

// maxRecorded bounds how many versions a state remembers.
const maxRecorded = 32

// record notes that the version n has been written under the pending's token.
func (s *state) record(n int, r recorded) {
	versions := map[string]recorded{strconv.Itoa(n): r}
	for id, old := range s.Versions {
		if i, err := strconv.Atoi(id); err == nil && i != n && i > n-maxRecorded {
			versions[id] = old
		}
	}
	s.Versions = versions
}

func (s *state) of(n int) recorded { return s.Versions[strconv.Itoa(n)] }

// readState returns the state of a secret; one that is not there is empty.
func (d *Driver) readState(ctx context.Context, path string) (state, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) { return l.ReadWithContext(ctx, d.cfg.state(path)) })
	if errors.Is(err, store.ErrNotFound) || err == nil && got == nil {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	v, err := parseVersion(got)
	if err != nil {
		return state{}, d.explain(ctx, err)
	}
	s := state{revision: v.number}
	if v.data == nil {
		return s, nil // deleted
	}
	raw, ok := v.data["state"].(string)
	if !ok {
		return state{}, fmt.Errorf("%w: the state is none", store.ErrInvalid)
	}
	if json.Unmarshal([]byte(raw), &s) != nil {
		return state{}, fmt.Errorf("%w: the state does not decode", store.ErrInvalid)
	}
	return s, nil
}

// writeState writes the state by compare-and-set and sets its new revision.
func (d *Driver) writeState(ctx context.Context, path string, s *state) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if s.revision == 0 {
		if err := d.mayMakeState(ctx); err != nil {
			return err
		}
		// Before the first write, so that no version of it is ever kept.
		_, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
			return l.WriteWithContext(ctx, d.cfg.stateMeta(path), map[string]any{"max_versions": 1, "cas_required": true})
		})
		if err != nil {
			return err
		}
	}
	n, err := d.writeData(ctx, d.cfg.state(path), map[string]any{"state": string(raw)}, s.revision)
	if err != nil {
		return s.Pending.scrub(err)
	}
	s.revision = n
	return nil
}

// writeData writes a version by compare-and-set and returns its number.
func (d *Driver) writeData(ctx context.Context, path string, data map[string]any, cas int) (int, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
		return l.WriteWithContext(ctx, path, map[string]any{"data": data, "options": map[string]any{"cas": cas}})
	})
	if err != nil {
		return 0, err
	}
	if got == nil {
		return cas + 1, nil
	}
	return asInt(got.Data["version"]), nil
}

func asInt(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return int(i)
}

func asTime(v any) time.Time {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// version is one version as the engine answers a read of it.
type version struct {
	number  int
	created time.Time
	ends    time.Time // when the engine deletes it, zero for never
	gone    bool      // deleted or destroyed
	// destroyed: its value cannot be brought back.
	destroyed bool
	data      map[string]any
}

// end reads from the metadata of the version when it ends, or that it has.
func (v *version) end(meta map[string]any) {
	v.ends = asTime(meta["deletion_time"])
	v.destroyed = meta["destroyed"] == true
	v.gone = v.destroyed || !v.ends.IsZero() && !v.ends.After(time.Now())
}

// notAfter returns the earlier of the engine's end of a version and a recorded one.
func (v *version) notAfter(recorded time.Time) time.Time {
	if recorded.IsZero() || !v.ends.IsZero() && v.ends.Before(recorded) {
		return v.ends
	}
	return recorded
}

func parseVersion(got *api.Secret) (version, error) {
	meta, ok := got.Data["metadata"].(map[string]any)
	if !ok {
		return version{}, fmt.Errorf("%w: the answer is not that of a KV version 2 engine", store.ErrInvalid)
	}
	v := version{number: asInt(meta["version"]), created: asTime(meta["created_time"])}
	v.end(meta)
	v.data, _ = got.Data["data"].(map[string]any)
	return v, nil
}
