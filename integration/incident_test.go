package integration

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

var leaked = flag.Int("leaked", 10, "how many secrets TestEverySecretLeaks has")

// TestEverySecretLeaks: one command rotates all secrets at once and proves that what
// leaked is dead. It is killed twice on its way; each secret rotates once, and the
// report names what is not proven, and why.
func TestEverySecretLeaks(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		newIncident(t, "{type: natskv}").run()
	})
	t.Run("openbao", func(t *testing.T) {
		t.Parallel()
		bao := serverstest.StartBao(t)
		newIncident(t, fmt.Sprintf("{type: vault, address: %q}", bao.URL), "VAULT_TOKEN="+bao.Root).run()
	})
}

// incident is a node whose secrets leak.
type incident struct {
	t   *testing.T
	dir string
	cfg string
	env []string
	ids []string
}

func newIncident(t *testing.T, store string, env ...string) *incident {
	t.Helper()
	i := &incident{t: t, dir: t.TempDir(), env: env}
	i.cfg = filepath.Join(i.dir, "rotator.yaml")
	health := freeAddress(t)
	var b strings.Builder
	fmt.Fprintf(&b, "node: {data_dir: %q, listen: %q}\nhttp: {listen: %q}\nlog: {format: json}\nstores: {main: %s}\n", filepath.Join(i.dir, "data"), freeAddress(t), health, store)
	b.WriteString("defaults: {ttl: 30d, create: true, no_subscribers: retire-after-grace}\nsecrets:\n")
	for n := range *leaked {
		i.ids = append(i.ids, fmt.Sprintf("LEAK_%05d", n))
		fmt.Fprintf(&b, "  - {id: %s, store: main}\n", i.ids[n])
	}
	i.ids = append(i.ids, "HELD")
	b.WriteString("  - {id: HELD, store: main, consumers: [{name: billing, confirm: manual}]}\n")
	if err := os.WriteFile(i.cfg, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	startWith(t, env, "run", "--config", i.cfg)
	ready(t, health)
	for _, id := range i.ids {
		waittest.Until(t, id+" has its first version", func() error {
			if v := i.versions(id); len(v) == 0 {
				return errors.New("it has none")
			}
			return nil
		})
	}
	return i
}

type leakedVersion struct {
	ID    string `json:"version_id"`
	Stage string `json:"stage"`
	Empty bool   `json:"empty"`
}

func (i *incident) versions(id string) (out []leakedVersion) {
	i.t.Helper()
	p := startWith(i.t, i.env, "versions", id, "--json", "--config", i.cfg)
	if p.wait(i.t) == 0 {
		if err := json.Unmarshal([]byte(p.out.String()), &out); err != nil {
			i.t.Fatal(err)
		}
	}
	return out
}

func (i *incident) rotate(more ...string) *program {
	i.t.Helper()
	return startWith(i.t, i.env, append([]string{"rotate", "--all", "--emergency", "--ticket", "INC-4711", "--reason", "the backup was public", "--config", i.cfg}, more...)...)
}

// killedAt starts the command and kills it once it has printed a text.
func (i *incident) killedAt(text string) {
	i.t.Helper()
	p := i.rotate("--yes")
	waittest.Until(i.t, "the command prints "+text, func() error {
		if !strings.Contains(p.out.String(), text) {
			return fmt.Errorf("it printed %q", p.out)
		}
		return nil
	})
	kill(p.cmd)
	p.wait(i.t)
}

func (i *incident) run() {
	t := i.t
	t.Helper()
	before := map[string]string{}
	for _, id := range i.ids {
		before[id] = i.versions(id)[0].ID
	}
	if p := i.rotate(); p.wait(t) != 1 || !strings.Contains(p.out.String(), "nothing was done; give --yes") || !strings.Contains(p.out.String(), "HELD: the consumer billing") {
		t.Fatalf("without --yes:\n%s", p.out)
	}
	i.killedAt("rotate at once")
	i.killedAt("rotated")
	file := filepath.Join(i.dir, "report.json")
	waittest.Until(t, "all but one are dead", func() error {
		p := i.rotate("--yes", "--report", file, "--timeout", "2s")
		if code := p.wait(t); code != 1 || !strings.Contains(p.out.String(), fmt.Sprintf("%d of %d leaked versions are proven", len(i.ids)-1, len(i.ids))) ||
			!strings.Contains(p.out.String(), "HELD version "+before["HELD"]+" is replaced: ") {
			return fmt.Errorf("exit %d:\n%s", code, p.out)
		}
		return nil
	})
	i.check(file, before)
	i.forced(before["HELD"])
}

// forced has the version that is held revoked without proof.
func (i *incident) forced(v string) {
	t := i.t
	t.Helper()
	do := func(want int, says string, args ...string) {
		t.Helper()
		p := startWith(t, i.env, append(args, "--config", i.cfg)...)
		if code := p.wait(t); code != want || !strings.Contains(p.out.String(), says) {
			t.Errorf("%q: exit %d, want %d and %q:\n%s", args, code, want, says, p.out)
		}
	}
	do(1, "is current", "revoke", "HELD", i.versions("HELD")[0].ID)
	do(1, "it may break the consumer billing", "revoke", "HELD", v)
	do(2, "--reason is required", "revoke", "HELD", v, "--force")
	do(0, "is destroyed, without proof", "revoke", "HELD", v, "--force", "--reason", "it cannot wait")
	do(0, "was revoked without proof", "status", "HELD")
	do(0, "without proof, because", "receipt", "HELD")
	p := i.rotate("--yes")
	if code := p.wait(t); code != 0 || !strings.Contains(p.out.String(), "(receipt: forced)") {
		t.Errorf("the emergency again: exit %d:\n%s", code, p.out)
	}
}

// check compares the report with the store.
func (i *incident) check(file string, before map[string]string) {
	t := i.t
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Fates   map[string]int
		Secrets []struct {
			ID      string `json:"secret_id"`
			From    string `json:"leaked_version_id"`
			To      string `json:"version_id"`
			Fate    string
			Because string
			Basis   string
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Secrets) != len(i.ids) || report.Fates["dead"] != len(i.ids)-1 || report.Fates["replaced"] != 1 {
		t.Errorf("the report has %d secrets, fates %v", len(report.Secrets), report.Fates)
	}
	for _, s := range report.Secrets {
		alive := 0
		for _, v := range i.versions(s.ID) {
			switch {
			case v.Stage == "current" && v.ID != s.To:
				t.Errorf("%s: current is %s, the report says %s", s.ID, v.ID, s.To)
			case v.ID == before[s.ID] && v.Empty != (s.Fate == "dead"):
				t.Errorf("%s: the report says %s, the store %+v", s.ID, s.Fate, v)
			}
			if !v.Empty {
				alive++
			}
		}
		want := 1
		if s.ID == "HELD" {
			want = 2
		}
		switch {
		case s.From != before[s.ID]:
			t.Errorf("%s: leaked is %s, the report says %s", s.ID, before[s.ID], s.From)
		case alive != want:
			t.Errorf("%s has %d values, want %d: it rotated more than once", s.ID, alive, want)
		case s.Fate == "dead" && s.Basis != "emergency", s.Fate != "dead" && !strings.Contains(s.Because, "billing"):
			t.Errorf("%s: %+v", s.ID, s)
		}
	}
	if p := startWith(t, i.env, "receipt", i.ids[0], "--config", i.cfg); p.wait(t) != 0 || !strings.Contains(p.out.String(), "emergency") {
		t.Errorf("receipt: %s", p.out)
	}
}
