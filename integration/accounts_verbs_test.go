package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// alone are the commands that connect to nothing, or are the programs themselves.
const alone = " audit config completion dev help lambda nats restore run target version backup "

// run runs a command as the operator, and fails the test where it ends otherwise than
// wanted, or was denied something.
func (c *cell) run(want int, in string, args ...string) string {
	c.t.Helper()
	out, errs, code := piped(c.t, in, append(args, "--config", c.cfg)...)
	c.t.Logf("%s: exit %d", args, code)
	if code != want {
		c.t.Errorf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
	}
	if strings.Contains(errs, "iolation") || strings.Contains(errs, "nats.error") || strings.Contains(errs, "deadline exceeded") {
		c.t.Errorf("%q says:\n%s", args, errs)
	}
	c.denied.check(c.t, strings.Join(args, " "))
	c.ran[args[0]] = true
	if len(args) > 1 {
		c.ran[args[0]+" "+args[1]] = true
	}
	return out
}

// follow runs a command that goes on until it is interrupted.
func (c *cell) follow(says string, args ...string) {
	c.t.Helper()
	p := start(c.t, append(args, "--config", c.cfg)...)
	waittest.Until(c.t, strings.Join(args, " ")+" prints", printed(p, says))
	if code := p.drain(c.t); code != 0 || strings.Contains(p.out.String(), "iolation") {
		c.t.Errorf("%q: exit %d\n%s", args, code, p.out)
	}
	c.denied.check(c.t, strings.Join(args, " "))
}

// versions returns the versions of a secret, the newest first.
func (c *cell) versions(id string) (out []secret.VersionID) {
	c.t.Helper()
	var all []struct {
		ID secret.VersionID `json:"version_id"`
	}
	text := c.run(0, "", "versions", id, "--json")
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) == 0 {
		c.t.Fatalf("versions of %s: %v: %s", id, err, text)
	}
	for _, v := range all {
		out = append(out, v.ID)
	}
	return out
}

// verbs runs every command that connects, with each thing that it can do.
func (c *cell) verbs() {
	c.run(0, "Supplied-Value-0123456789-abc-defghi", "import", "V_MINE", "--reason", "test")
	c.looks()
	c.held()
	c.rotates()
	c.checks()
	c.ends()
}

func (c *cell) looks() {
	for _, args := range [][]string{{"list"}, {"plan"}, {"status"}, {"explain", "V_LIVE"}, {"history", "V_LIVE"}, {"events"}, {"policy", "check"}, {"doctor", "--json"}, {"receipt", "V_LIVE"}} {
		want := 0
		if args[0] == "doctor" || args[0] == "receipt" { // no instance of the service runs, and there is no receipt yet
			want = 1
		}
		c.run(want, "", args...)
	}
	c.follow("V_LIVE", "status", "--watch")
	c.follow("V_LIVE", "events", "--follow")
}

// held is about a secret whose old version an instance holds that has gone silent.
func (c *cell) held() {
	first := c.versions("V_LIVE")[0]
	c.instance("V_LIVE", first)
	c.run(0, "Supplied-Value-0123456789-abc-defghi", "put", "V_LIVE", "--reason", "test")
	c.run(0, "", "rollback", "V_LIVE", "--reason", "test")
	c.run(1, "", "wait", "V_LIVE", "--timeout", "1s")
	c.run(0, "", "explain", "V_LIVE")
	c.run(1, "", "revoke", "V_LIVE", string(first)) // it says whom that may break
	c.run(0, "", "revoke", "V_LIVE", string(first), "--force", "--reason", "test")
	c.run(0, "", "receipt", "V_LIVE")
	c.run(0, "", "forget", "audit-api/one", "--reason", "test", "--yes")
	c.run(0, "", "confirm-fleet", "--reason", "test")
}

func (c *cell) rotates() {
	saved := filepath.Join(c.dir, "saved.plan")
	c.run(0, "", "plan", "V_TWO", "--within", "40d", "--out", saved)
	c.run(0, "", "apply", saved)
	c.run(0, "", "rotate", "V_TWO", "--again", "--reason", "test", "--wait", "retired")
	c.run(0, "", "wait", "V_TWO", "--for", "retired")
	c.run(0, "", "rotate", "V_TWO", "--emergency", "--ticket", "INC-1", "--reason", "test", "--yes")
	c.run(0, "", "pause", "V_TWO", "--reason", "test")
	c.run(0, "", "status", "V_TWO")
	c.run(0, "", "resume", "V_TWO", "--reason", "test")
	c.run(0, "", "rotate", "V_ERP")
	c.run(0, "", "confirm", "V_ERP", "--consumer", "erp", "--version", string(c.versions("V_ERP")[0]))
}

func (c *cell) checks() {
	c.orphans()
	if out := c.run(1, "", "doctor", "--fix", "--idle", "1ms", "--json", "--reason", "test"); strings.Count(out, `"consumer_orphaned"`) != len(orphaned) {
		c.t.Errorf("the doctor deletes other consumers than those of %q:\n%s", orphaned, out)
	}
	if out := c.run(1, "", "doctor", "--idle", "1ms", "--json"); strings.Contains(out, "consumer_orphaned") {
		c.t.Errorf("consumers are left:\n%s", out)
	}
	proof := filepath.Join(c.dir, "evidence")
	c.run(0, "", "evidence", "--from", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "--out", proof)
	c.run(0, "", "evidence", "verify", proof)
	c.run(0, "", "keys", "rotate")
	c.run(0, "", "get", "V_TWO")
}

// orphaned are the streams that have consumers.
var orphaned = []string{"ROTATION", "ROTATED", "NOTIFY"}

// orphans makes a consumer of each stream that no program uses.
func (c *cell) orphans() {
	c.t.Helper()
	public, err := c.key("admin").PublicKey()
	if err != nil {
		c.t.Fatal(err)
	}
	nc, err := nats.Connect(c.url, nats.Nkey(public, c.key("admin").Sign))
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	prefix := ""
	if c.prefix != "" {
		prefix = strings.ToUpper(c.prefix) + "_"
	}
	for _, stream := range orphaned {
		if _, err := js.CreateConsumer(c.t.Context(), prefix+stream, jetstream.ConsumerConfig{Durable: "left", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "none.none"}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// ends takes a secret out of the configuration and deletes it.
func (c *cell) ends() {
	c.write(verbSecrets)
	c.run(0, "", "status")
	out := c.run(0, "", "reload", "--json")
	if n := strings.Count(out, `"source"`); n != len(c.programs) {
		c.t.Errorf("%d programs have loaded the file, want %d:\n%s", n, len(c.programs), out)
	}
	c.run(1, "", "delete", "V_GONE", "--store", "main") // it says what it would delete
	c.run(0, "", "delete", "V_GONE", "--store", "main", "--yes", "--reason", "test")
	c.run(0, "", "history", "V_GONE")
	fresh := filepath.Join(c.dir, "fresh.key")
	if _, errs, code := piped(c.t, "", "keys", "new", "master", fresh); code != 0 {
		c.t.Fatal(errs)
	}
	c.run(0, "", "keys", "change-master", "--new", fresh)
	if err := os.Rename(fresh, filepath.Join(c.dir, "master.key")); err != nil {
		c.t.Fatal(err)
	}
	c.run(0, "", "keys", "rotate-master")
	c.run(0, "", "get", "V_TWO")
}

// complete fails the test for a command that is neither run here nor known to connect
// to nothing.
func (c *cell) complete() {
	c.t.Helper()
	help, _ := rotator(c.t, "help")
	_, list, _ := strings.Cut(help, "Run it:")
	list, _, _ = strings.Cut(list, "\nFlags:")
	n := 0
	for line := range strings.Lines(list) {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "  "), " "); strings.HasPrefix(line, "  ") && ok && rest != "" {
			n++
			if !c.ran[name] && !strings.Contains(alone, " "+name+" ") {
				c.t.Errorf("no test runs %q as the operator", name)
			}
		}
	}
	if n < 30 {
		c.t.Errorf("the help lists %d commands:\n%s", n, help)
	}
}
