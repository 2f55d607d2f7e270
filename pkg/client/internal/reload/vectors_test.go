package reload_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/secret"
)

var update = flag.Bool("update", false, "rewrite what testdata expects")

// Times in a vector are milliseconds since epoch, durations milliseconds, and 0
// stands for none.
type millis int64

var epoch = time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)

func (m millis) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return epoch.Add(m.duration())
}

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

func since(t time.Time) millis {
	if t.IsZero() {
		return 0
	}
	return millis(t.Sub(epoch).Milliseconds())
}

// vector is a sequence of events of one secret. Every implementation has to
// answer each event with the effects, in their order, and come to the state.
type vector struct {
	Name  string `json:"name"`
	Rules rules  `json:"rules"`
	Steps []step `json:"steps"`
}

type rules struct {
	Margin   millis `json:"margin"`
	Lifetime millis `json:"lifetime,omitempty"`
	Retry    millis `json:"retry"`
	Again    millis `json:"again,omitempty"` // 0 means 100
}

type step struct {
	At      millis   `json:"at"`
	Event   event    `json:"event"`
	Effects []effect `json:"effects"`
	State   state    `json:"state"`
}

// event and effect have every field that one of their kinds sets. The fields
// announced_at, seq and trace, beside version, are an announcement.
type event struct {
	Kind        reload.EventKind `json:"kind"`
	Version     secret.VersionID `json:"version,omitempty"`
	Previous    secret.VersionID `json:"previous,omitempty"`
	AnnouncedAt millis           `json:"announced_at,omitempty"`
	Seq         uint64           `json:"seq,omitempty"`
	Trace       string           `json:"trace,omitempty"`
	CreatedAt   millis           `json:"created_at,omitempty"`
	NotAfter    millis           `json:"not_after,omitempty"`
	Pending     bool             `json:"pending,omitempty"`
	Failure     string           `json:"failure,omitempty"`
	Text        string           `json:"text,omitempty"`
}

type effect struct {
	Kind        reload.EffectKind `json:"kind"`
	Version     secret.VersionID  `json:"version,omitempty"`
	Staged      bool              `json:"staged,omitempty"`
	Announced   secret.VersionID  `json:"announced,omitempty"`
	AnnouncedAt millis            `json:"announced_at,omitempty"`
	Trace       string            `json:"trace,omitempty"`
	NotAfter    millis            `json:"not_after,omitempty"`
	At          millis            `json:"at,omitempty"`
	Failure     string            `json:"failure,omitempty"`
	Text        string            `json:"text,omitempty"`
	Pause       millis            `json:"pause,omitempty"`
}

type state struct {
	Version  secret.VersionID  `json:"version,omitempty"`
	NotAfter millis            `json:"not_after,omitempty"`
	LoadedAt millis            `json:"loaded_at,omitempty"`
	Stale    bool              `json:"stale,omitempty"`
	Mixed    bool              `json:"mixed,omitempty"`
	Status   reload.Status     `json:"status,omitempty"`
	Wanted   secret.VersionID  `json:"wanted,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Phase    reload.EffectKind `json:"phase,omitempty"`
	Pause    millis            `json:"pause,omitempty"`
}

func (r rules) rules() reload.Rules {
	return reload.Rules{Margin: r.Margin.duration(), Lifetime: r.Lifetime.duration(), Retry: r.Retry.duration(), Again: cmp.Or(r.Again, 100).duration()}
}

func (e event) event() reload.Event {
	out := reload.Event{
		Kind: e.Kind, Previous: e.Previous, CreatedAt: e.CreatedAt.time(), NotAfter: e.NotAfter.time(), Pending: e.Pending, Failure: reload.Failure{Kind: e.Failure, Text: e.Text},
	}
	if e.AnnouncedAt != 0 {
		out.Announcement = reload.Announcement{Version: e.Version, At: e.AnnouncedAt.time(), Seq: e.Seq, Trace: e.Trace}
	} else {
		out.Version = e.Version
	}
	return out
}

func effectOf(e reload.Effect) effect {
	return effect{
		Kind: e.Kind, Version: e.Version, Staged: e.Staged, Announced: e.Cause.Version, AnnouncedAt: since(e.Cause.At), Trace: e.Cause.Trace,
		NotAfter: since(e.NotAfter), At: since(e.At), Failure: e.Failure.Kind, Text: e.Failure.Text, Pause: millis(e.Pause.Milliseconds()),
	}
}

func stateOf(s reload.State) state {
	return state{
		Version: s.Version, NotAfter: since(s.NotAfter), LoadedAt: since(s.LoadedAt), Stale: s.Stale, Mixed: s.Mixed(),
		Status: s.Status, Wanted: s.Wanted, Reason: s.Reason, Phase: s.Phase(), Pause: millis(s.Pause().Milliseconds()),
	}
}

// run returns the vector with what this implementation answers.
func (v vector) run() vector {
	var s reload.State
	v.Steps = slices.Clone(v.Steps)
	for i, st := range v.Steps {
		var done []reload.Effect
		s, done = s.Next(v.Rules.rules(), st.Event.event(), st.At.time())
		effects := make([]effect, 0, len(done))
		for _, e := range done {
			effects = append(effects, effectOf(e))
		}
		v.Steps[i].Effects, v.Steps[i].State = effects, stateOf(s)
	}
	return v
}

// encode writes one step a line.
func encode(t *testing.T, vectors []vector) []byte {
	t.Helper()
	line := func(v any) string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimSpace(b.Bytes()))
	}
	var b bytes.Buffer
	b.WriteString("[")
	for i, v := range vectors {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n  {\n    \"name\": " + line(v.Name) + ",\n    \"rules\": " + line(v.Rules) + ",\n    \"steps\": [")
		for j, s := range v.Steps {
			if j > 0 {
				b.WriteString(",")
			}
			b.WriteString("\n      " + line(s))
		}
		b.WriteString("\n    ]\n  }")
	}
	b.WriteString("\n]\n")
	return b.Bytes()
}

// TestVectors runs the sequences that the Python client runs, too.
func TestVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of vectors, err %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []vector
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, v := range want {
			got = append(got, v.run())
		}
		if *update {
			if err := os.WriteFile(file, encode(t, got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for i := range want {
			compare(t, file, want[i], got[i])
		}
	}
}

func compare(t *testing.T, file string, want, got vector) {
	t.Helper()
	for i, w := range want.Steps {
		g := got.Steps[i]
		if !slices.Equal(g.Effects, w.Effects) || g.State != w.State {
			t.Errorf("%s: %s: step %d, %s:\n got %+v\n     %+v\nwant %+v\n     %+v", file, want.Name, i+1, w.Event.Kind, g.Effects, g.State, w.Effects, w.State)
			return
		}
	}
}
