package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
)

// TestAUserIsAdopted: a value that the target refuses is not imported, a dry run writes
// nothing, and once the value is in, a password that another owner changes and a role that
// no version has are found. Nothing is rotated because of that.
func TestAUserIsAdopted(t *testing.T) {
	t.Parallel()
	d := &database{t: t, server: serverstest.StartPostgres(t)}
	d.server.Exec(t, "postgres", "CREATE ROLE app LOGIN PASSWORD 'Existing.Password-0123'", "CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'Admin.Password-01234'",
		"CREATE ROLE foreign_app LOGIN PASSWORD 'Foreign.Password-0123'", "GRANT pg_read_all_stats, pg_signal_backend TO rotator")
	cfg, health := singleNode(t, fmt.Sprintf(`  - {id: DB_ADMIN, disabled: true}
  - {id: %s, ttl: 1h, services: [orders], target: {name: pg, user: app}}
worker: {verify_every: 1s}
targets:
  pg: {type: postgres, endpoints: ["127.0.0.1:%d"], admin: DB_ADMIN, tls: {ca: %q}}
`, databaseID, d.server.Port, d.server.CA))
	d.cfg, d.dir = cfg, filepath.Join(filepath.Dir(cfg), "data")
	d.node = start(t, "run", "--config", cfg)
	ready(t, health)
	d.run(0, `{"username":"rotator","password":"Admin.Password-01234"}`, "import", "DB_ADMIN")
	d.adopt()
	before := d.run(0, "", "versions", string(databaseID), "--json")
	d.found("status", "target_refuses", false)
	d.server.Exec(t, "postgres", "ALTER ROLE app PASSWORD 'Of.another.Password-0123'")
	d.found("status", "target_refuses", true)
	var metrics string
	waittest.Until(t, "the metric names the secret", func() error {
		err := get(t, "http://"+health+"/metrics", &metrics)
		if err == nil && !strings.Contains(metrics, `secret_id="DB",state="refused"} 1`) {
			err = fmt.Errorf("it does not")
		}
		return err
	})
	d.server.Exec(t, "postgres", "ALTER ROLE app PASSWORD 'Existing.Password-0123'")
	d.found("status", "target_refuses", false)
	d.server.Exec(t, "postgres", "CREATE ROLE app_clone LOGIN PASSWORD 'Of.nobody.Password-0123'")
	if out := d.found("doctor", "credential_orphaned", true); !strings.Contains(out, `ALTER ROLE \"app_clone\" NOLOGIN`) || strings.Contains(out, "foreign_app") {
		t.Errorf("the finding has no remedy, or names a foreign role:\n%s", out)
	}
	if after := d.run(0, "", "versions", string(databaseID), "--json"); after != before {
		t.Errorf("something was rotated: %s, before %s", after, before)
	}
}

// adopt imports the login of the user, after one that the server refuses and a dry run.
func (d *database) adopt() {
	d.t.Helper()
	value := fmt.Sprintf(`{"engine":"postgres","host":"127.0.0.1","port":%d,"username":"app","password":"Existing.Password-0123","dbname":"postgres"}`, d.server.Port)
	for _, wrong := range []string{strings.Replace(value, "Existing", "Wrong", 1), strings.Replace(value, `"app"`, `"rotator"`, 1)} {
		_, errs, code := piped(d.t, wrong, "import", string(databaseID), "--config", d.cfg)
		if code != 1 || !strings.Contains(errs, "the target pg does not take the value, so nothing was written") || strings.Contains(errs, "Password-0") {
			d.t.Fatalf("import of a wrong login: exit %d\n%s", code, errs)
		}
	}
	out := d.run(1, value, "import", string(databaseID), "--dry-run") // the ownership trap is not closed yet
	for _, want := range []string{`to "app_clone"`, `GRANT "app_owner" TO "app_clone"`, "<SCRAM verifier of the new password>", "no owner role", "nothing was written"} {
		if !strings.Contains(out, want) {
			d.t.Errorf("the dry run does not say %q:\n%s", want, out)
		}
	}
	if out := d.run(1, "", "get", string(databaseID)); out != "" {
		d.t.Errorf("a dry run, or an import that was refused, has written something")
	}
	d.run(0, value, "import", string(databaseID))
}

// found waits until a command has a finding about the secret, or has none.
func (d *database) found(command, code string, want bool) string {
	d.t.Helper()
	var out string
	waittest.Until(d.t, fmt.Sprintf("%s is found: %t", code, want), func() error {
		out, _, _ = piped(d.t, "", command, "--json", "--config", d.cfg)
		if strings.Contains(out, `"code": "`+code+`"`) != want {
			return fmt.Errorf("%s says:\n%s", command, out)
		}
		if strings.Contains(out, "Password-0") {
			d.t.Fatalf("%s shows a password:\n%s", command, out)
		}
		return nil
	})
	return out
}
