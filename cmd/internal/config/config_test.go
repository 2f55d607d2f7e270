package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const examples = "../../../docs/examples"

// parse returns the configuration of text, failing the test when it is wrong.
func parse(t *testing.T, text string, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), "test.yaml", environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems returns what is wrong with text, one line per problem.
func problems(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, err := config.Parse([]byte(text), "test.yaml", environ)
	if err == nil {
		return nil
	}
	var p config.Problems
	if !errors.As(err, &p) || len(p) == 0 {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	for _, one := range p {
		if one.Code == "" || one.Severity != secret.SeverityError {
			t.Errorf("%s: code %q, severity %q, want an error", one, one.Code, one.Severity)
		}
	}
	return strings.Split(err.Error(), "\n")
}

func wantProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	b, err := os.ReadFile("testdata/problems.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse(b, "problems.yaml", []string{
		"ROTATOR_WORKER_CONCURENCY=5", "ROTATOR_HTTP_NOTIFIER_LISTEN=all", "ROTATOR_WORKER_TAKEOVER_ATTEMPTS=many",
	})
	if err == nil {
		t.Fatal("no problem found")
	}
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile("testdata/problems.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/problems.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if strings.Contains(got, "hunter2") {
		t.Error("a password is in the problems")
	}
}

func TestAnEmptyFileIsASingleNode(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "a comment": "# soon\n", "a document mark": "---\n", "null": "~\n", "no keys": "{}\n"} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, text)
			if !c.SingleNode() || c.HTTP.Listen != "127.0.0.1:8080" || c.Node.SyncInterval != "always" || c.Worker.Concurrency != 4 {
				t.Errorf("got %+v", c)
			}
			if specs, err := c.Specs(); err != nil || len(specs) != 0 {
				t.Errorf("got %v, %v", specs, err)
			}
		})
	}
}

func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := config.Load(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Warnings() {
				t.Errorf("an example should not need a warning: %s", w)
			}
			if specs, err := c.Specs(); err != nil || len(specs) == 0 {
				t.Errorf("got %d specs, %v", len(specs), err)
			}
		})
	}
}

func TestTradePulseExample(t *testing.T) {
	c, err := config.Load(examples+"/tradepulse.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := c.Specs()
	if err != nil || len(specs) != 2 {
		t.Fatalf("got %v, %v", specs, err)
	}
	audit, admin := specs[0], specs[1]
	if audit.ID != "TRADEPULSE_AUDIT_SECRET_ID" || admin.ID != "TRADEPULSE_ADMIN_TOKEN_ID" {
		t.Errorf("ids are %s and %s", audit.ID, admin.ID)
	}
	if audit.Rollout != secret.RolloutPrepare || audit.Retire != secret.RetireKeep {
		t.Errorf("records of the audit log would not stay verifiable: %+v", audit)
	}
	if !reflect.DeepEqual(audit.Services, []string{"tradepulse-api"}) || !reflect.DeepEqual(admin.Services, audit.Services) {
		t.Errorf("services are %v and %v", audit.Services, admin.Services)
	}
	want := map[secret.ID]time.Duration{audit.ID: time.Hour, admin.ID: 30 * time.Minute}
	if got := c.Floors(); !reflect.DeepEqual(got, want) {
		t.Errorf("floors are %v", got)
	}
}

func TestSpecsTakeWhatTheDefaultsGive(t *testing.T) {
	c := parse(t, `
stores: {main: {type: natskv}}
defaults:
  ttl: 1d
  services: [api]
  create: true
  deadline: none
  grace: 0s
secrets:
  - id: plain
  - id: own
    path: some/where
    ttl: none
    refresh_margin: 1m
    max_jitter: none
    services: []
    create: false
    deadline: 1h
    retire: keep
    disabled: true
`)
	got, err := c.Specs()
	if err != nil {
		t.Fatal(err)
	}
	want := []secret.Spec{
		{
			ID: "plain", Store: "main", Path: "plain", TTL: 24 * time.Hour, RefreshMargin: 5 * time.Minute, Services: []string{"api"},
			Strategy: secret.StrategyGenerate, Rollout: secret.RolloutActivate, Grace: -1, Deadline: -1, Retire: secret.RetireDelete, Create: true,
		},
		{
			ID: "own", Store: "main", Path: "some/where", RefreshMargin: time.Minute, MaxJitter: -1, Services: []string{},
			Strategy: secret.StrategyGenerate, Rollout: secret.RolloutActivate, Grace: -1, Deadline: time.Hour, Retire: secret.RetireKeep, Disabled: true,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestSettingsOfAService: those of a secret win over those of the services section,
// which also hold for secrets that are discovered.
func TestSettingsOfAService(t *testing.T) {
	c := parse(t, `
services:
  nightly: {kind: job, max_run: 3h}
  api: {join: required, presumed_ended_after: 1d}
stores: {main: {type: vault, address: "http://x", discover: {}, auth: {method: token, token: {env: T}}}}
secrets:
  - id: a
    services: [nightly, {name: api, presumed_ended_after: 2d}, plain]
    consumers: [{name: erp}, {name: batch, confirm: after 14d}]
    fleets: [eu]
    no_subscribers: retire-after-grace
`, "T=x")
	all, err := c.Specs()
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	nightly, api := secret.Subscriber{Kind: secret.KindJob, MaxRun: 3 * time.Hour}, secret.Subscriber{JoinRequired: true, PresumedEndedAfter: 2 * day}
	want := secret.Proof{
		Subscribers: map[string]secret.Subscriber{"nightly": nightly, "api": api},
		Consumers:   []secret.Consumer{{Name: "erp"}, {Name: "batch", After: 14 * day}}, Fleets: []string{"eu"}, NoSubscribers: secret.NoSubscribersRetire,
	}
	if got := all[0]; !reflect.DeepEqual(got.Proof, want) || !slices.Equal(got.Services, []string{"nightly", "api", "plain"}) {
		t.Errorf("got %v\n%s\nwant %s", got.Services, got.Proof, want)
	}
	found, err := c.Discoveries()
	if err != nil {
		t.Fatal(err)
	}
	spec, findings := found[0].Spec(secret.Metadata{Path: "x", Attributes: map[string]string{"rotator:managed": "true", "rotator:services": "nightly"}})
	if run, ok := spec.Job("nightly"); !ok || run != 3*time.Hour || len(findings) > 0 {
		t.Errorf("a discovered secret has %s, %v", spec.Proof, findings)
	}
}

// What the reference calls a default is what the rules of rotation have.
func TestDefaultsAreThoseOfTheRules(t *testing.T) {
	d := parse(t, "").Defaults
	if time.Duration(d.RefreshMargin) != secret.DefaultRefreshMargin || time.Duration(d.Grace) != secret.DefaultGrace || time.Duration(d.Deadline) != secret.DefaultRolloutDeadline {
		t.Errorf("got %s, %s, %s", d.RefreshMargin, d.Grace, d.Deadline)
	}
	var zero secret.Spec
	if d.Retire != string(zero.RetireMode()) || d.Rollout != string(secret.RolloutActivate) {
		t.Errorf("got %s, %s", d.Retire, d.Rollout)
	}
}

func TestStoreOptions(t *testing.T) {
	c := parse(t, `
stores:
  a: {type: natskv, bucket: vault, master_key: {env: MASTER}}
  b: {type: natskv}
  c: {type: env}
`)
	want := map[string]config.StoreOptions{
		"a": &config.NATSKV{Bucket: "vault", MasterKey: config.Ref{Env: "MASTER"}},
		"b": &config.NATSKV{Bucket: "secrets"},
		"c": &config.Env{},
	}
	for name, o := range want {
		if got := c.Stores[name].Options; !reflect.DeepEqual(got, o) {
			t.Errorf("%s is %+v, want %+v", name, got, o)
		}
	}
}

func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"the policy check fails before each rotation": {
			"stores: {m: {type: natskv}}\nsecrets:\n  - id: a\n    ttl: 1d\n    min_ttl: 1h\n    services: [a]\n",
			[]string{"test.yaml:3:5: secrets[0].refresh_margin: before each rotation as little as 5m is left, below min_ttl (1h), so the policy check fails then; set refresh_margin to more than 1h"},
		},
		"the policy check fails always": {
			"stores: {m: {type: natskv}}\nsecrets:\n  - id: a\n    ttl: 1h\n    min_ttl: 1h\n    services: [a]\n",
			[]string{"test.yaml:4:10: secrets[0].ttl: 1h is not above min_ttl (1h), so the policy check always fails; raise ttl"},
		},
		"rotations come too close": {
			"stores: {m: {type: natskv}}\nsecrets:\n  - id: a\n    ttl: 301s\n    services: [a]\n",
			[]string{"test.yaml:4:10: secrets[0].ttl: refresh_margin (5m) leaves less than a tenth of 5m1s, so rotations are put off and each is an alert; raise ttl well above the margin"},
		},
		"a version is replaced before its deadline": {"stores: {m: {type: natskv}}\nsecrets:\n  - {id: a, ttl: 20m, deadline: 15m, services: [a]}\n  - {id: b, ttl: 21m, deadline: 15m, services: [a]}\n", []string{"test.yaml:3:33: secrets[0].deadline: a version is replaced 15m after it was made, before 15m have passed; set it to less than ttl minus refresh_margin"}},
		"a version is replaced before the deadline that it inherits": {
			"stores: {m: {type: natskv}}\ndefaults: {deadline: 2h}\nsecrets:\n  - {id: a, ttl: 1h, services: [a]}\n  - {id: b, ttl: 1h, deadline: none, services: [a]}\n",
			[]string{"test.yaml:4:5: secrets[0].deadline: a version is replaced 55m after it was made, before the inherited 2h have passed; set it to less than ttl minus refresh_margin"},
		},
		"a version is replaced before the deadline of no setting": {
			"stores: {m: {type: natskv}}\nsecrets:\n  - {id: a, ttl: 20m, services: [a]}\n",
			[]string{"test.yaml:3:5: secrets[0].deadline: a version is replaced 15m after it was made, before the inherited 15m have passed; set it to less than ttl minus refresh_margin"},
		},
		"a store discovers what another one lists": {
			"stores: {a: {type: vault, prefix: x}, b: {type: vault, discover: {prefix: x/}}, c: {type: vault, discover: {prefix: y}}}\nsecrets: [{id: one, store: a, path: db, services: [a]}]\n",
			[]string{"test.yaml:1:66: stores.b.discover: it covers secrets[0] of the store a, which is the same server: both would rotate that secret if it has the tags; list it under this store, or set a prefix"},
		},
		"the store destroys nothing": {
			"stores: {m: {type: aws, region: eu-central-1}}\nsecrets:\n  - id: a\n    ttl: 1d\n    retire: destroy\n    services: [a]\n",
			[]string{"test.yaml:5:13: secrets[0].retire: the store removes no value, so destroy is not kept; use delete, and remove versions in the store"},
		},
		"the environment is read-only": {
			"stores: {m: {type: env}}\nsecrets:\n  - {id: A, services: [a]}\n  - {id: B, disabled: true}\n",
			[]string{"test.yaml:3:5: secrets[0].store: the environment cannot be written, so every rotation of this secret fails; set disabled: true, or use another store"},
		},
		"secrets without a known user": {
			"stores: {m: {type: natskv}}\nsecrets:\n  - {id: a, services: [x]}\n  - {id: b}\n  - {id: c}\n  - {id: d, no_subscribers: hold}\n  - {id: e, consumers: [{name: erp}]}\n",
			[]string{"test.yaml:4:5: secrets[1]: no service and no consumer is listed for 2 secrets, of which this is the first: previous versions are kept while no instance reports the secret; list its users, or set no_subscribers to hold or retire-after-grace"},
		},
		"a single node with credentials": {
			"nats: {tls: {ca: a.pem}}\n",
			[]string{"test.yaml:1:13: nats.tls: it has no effect without nats.url; remove it, or set nats.url"},
		},
		"a node that other hosts reach": {
			"node: {listen: '0.0.0.0:4222'}\n",
			[]string{"test.yaml:1:16: node.listen: other hosts reach the embedded server without TLS, and every service logs in with operator.nk, which may do everything; listen on a loopback address, or set nats.url and run NATS servers with deployments/nats"},
		},
		"a node by its name":             {"node: {listen: 'node-1:4222'}\n", []string{"test.yaml:1:16: node.listen: other hosts reach the embedded server without TLS, and every service logs in with operator.nk, which may do everything; listen on a loopback address, or set nats.url and run NATS servers with deployments/nats"}},
		"a node on another loopback":     {"node: {listen: '[::1]:4222'}\n", nil},
		"a node that listens on nothing": {"node: {listen: none}\n", nil},
		"a node that syncs later":        {"node: {sync_interval: default}\n", []string{"test.yaml:1:23: node.sync_interval: a write that was acknowledged may be lost when the machine stops, and a rotation with it; use always"}},
		"a cluster with settings of a node": {
			"nats: {url: 'nats://a:4222'}\nnode: {listen: none}\nsigning: {trusted_keys: [a.pub]}\n",
			[]string{"test.yaml:2:7: node: listen and sync_interval have no effect with nats.url; remove them; the cluster has its own settings"},
		},
		"a cluster without trusted keys": {
			"nats: {url: 'nats://a:4222'}\n",
			[]string{"test.yaml:1:1: signing.trusted_keys: events of other programs are not believed; list the public keys of every rotator and notifier on this bus"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range parse(t, tt.text).Warnings() {
				got = append(got, w.String())
			}
			wantProblems(t, got, tt.want...)
		})
	}
}

func TestContradictions(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"two ways to authenticate": {
			"nats: {credentials: {creds_file: a, user: b, password: {env: C}}}",
			[]string{"test.yaml:1:21: nats.credentials: more than one way to authenticate; keep one of creds_file, nkey_file, or user and password"},
		},
		"a user without a password": {
			"nats: {credentials: {user: b}}",
			[]string{"test.yaml:1:21: nats.credentials: user and password go together; give both, or neither"},
		},
		"a key without its certificate": {
			"nats: {tls: {key: b}}",
			[]string{"test.yaml:1:13: nats.tls: cert and key go together; give both, or neither"},
		},
		"a key with an unknown role": {
			"nats: {url: 'nats://a'}\nsigning: {trusted_keys: ['root=a.pub']}",
			[]string{`test.yaml:2:26: signing.trusted_keys[0]: trusted key root=a.pub: there is no role "root"; the roles are scheduler, worker, notifier, operator, lambda; name a file with a public key, or its roles and the file, such as notifier=/etc/rotator/notifier.pub`},
		},
		"copies on a single node": {
			"nats: {replicas: 3}\nstores: {m: {type: natskv, replicas: 3}}",
			[]string{
				"test.yaml:1:18: nats.replicas: a single node keeps one copy; remove it, or set nats.url",
				"test.yaml:2:38: stores.m.replicas: a single node keeps one copy; remove it, or set nats.url",
			},
		},
		"a cluster without a master key": {
			"nats: {url: 'nats://a'}\nsigning: {trusted_keys: [a]}\nstores: {m: {type: natskv}}",
			[]string{"test.yaml:3:13: stores.m: master_key is missing; with a cluster every program that opens the store needs the same key: add master_key: {file: NAME}"},
		},
		"a way to log in that lacks something": {
			"stores: {a: {type: vault, auth: {method: approle}}}",
			[]string{
				"test.yaml:1:33: stores.a.auth: the method approle needs role_id or VAULT_ROLE_ID, and secret_id or VAULT_SECRET_ID; add what is missing, or choose another method",
			},
		},
		"two stores in one bucket": {
			"stores: {a: {type: natskv}, b: {type: natskv}}",
			[]string{"test.yaml:1:32: stores.b.bucket: the store a has the same bucket; give each its own"},
		},
		"a secret without a store among none": {
			"secrets: [{id: a}]",
			[]string{"test.yaml:1:11: secrets[0]: no store is named; add one under stores: and name it with store:"},
		},
		"a secret without a store among two": {
			"stores: {a: {type: natskv}, b: {type: env}}\nsecrets: [{id: a}]",
			[]string{"test.yaml:2:11: secrets[0]: no store is named; add store: a, b"},
		},
		"an unknown store in the defaults is reported once": {
			"stores: {a: {type: natskv}}\ndefaults: {store: b}\nsecrets: [{id: a}, {id: b}]",
			[]string{`test.yaml:2:19: defaults.store: there is no store "b"; use one of a`},
		},
		"stores that are no section raise no further problem": {
			"stores: [a]\nsecrets: [{id: a}, {id: b, store: c}]",
			[]string{"test.yaml:1:9: stores: want a section with keys, got a list"},
		},
		"names with spaces": {
			"stores: {'a b': {type: env}}\npolicies:\n  \"\": {}\n",
			[]string{
				`test.yaml:1:10: stores["a b"]: this cannot be a name; use 1 to 64 letters, digits, _ and -`,
				`test.yaml:3:3: policies[""]: this cannot be a name; use 1 to 64 letters, digits, _ and -`,
			},
		},
		"a source that is AWS's own": {
			"eventbridge: {bus: default, source: aws.rotator}",
			[]string{"test.yaml:1:37: eventbridge.source: AWS keeps sources that begin with aws. to itself; write something like tradepulse.rotator"},
		},
		"a queue by its name": {
			"stores: {a: {type: aws}}\naws_events: {queue: hints}",
			[]string{"test.yaml:2:21: aws_events.queue: it is not the URL of a queue; write it as SQS shows it: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"},
		},
		"events of AWS about no store": {
			"stores: {a: {type: natskv}}\naws_events: {queue: 'https://sqs/1/q'}",
			[]string{"test.yaml:2:21: aws_events.queue: no store is of type aws; remove it, or add the store that its events are about"},
		},
		"an external secret in a store that rotates none": {
			"stores: {a: {type: natskv}}\nsecrets: [{id: a, strategy: external}]",
			[]string{"test.yaml:2:29: secrets[0].strategy: only AWS Secrets Manager rotates by itself; remove it, or name a store of type aws"},
		},
		"an external secret that is to be made": {
			"stores: {a: {type: aws}}\nsecrets: [{id: a, strategy: external, create: true}]",
			[]string{"test.yaml:2:11: secrets[0]: invalid secret spec a: with strategy external the store makes and promotes the versions: leave out create and rollout prepare-then-activate; see the reference for what goes together"},
		},
		"settings and words that have new names": {
			"stores: {a: {type: aws}}\nsecrets: [{id: a, strategy: managed}]\nworker: {patience: 3, managed_deadline: 1h}",
			[]string{
				`test.yaml:2:29: secrets[0].strategy: "managed" is not possible here; it is called "external" now`,
				`test.yaml:3:10: worker.patience: unknown key; it is called "takeover_attempts" now`,
				`test.yaml:3:23: worker.managed_deadline: unknown key; it is called "external_deadline" now`,
			},
		},
		"a service that contradicts itself": {
			"stores: {a: {type: natskv}}\nservices: {x: {kind: job}, y: {max_run: 1h}, z: {kind: job, max_run: 1h, presumed_ended_after: 1d}}\nsecrets: [{id: a, services: [x, {name: y, kind: job}, {name: z, join: required}, {name: w, kind: job}, {name: v, kind: batch}]}]",
			[]string{
				"test.yaml:2:15: services.x: max_run is missing; say how long a run of the job takes at most",
				"test.yaml:2:31: services.y: max_run is set, and only a job has one; add kind: job, or remove it",
				"test.yaml:2:49: services.z: presumed_ended_after is set, and a run of a job ends after max_run; remove it",
				"test.yaml:3:55: secrets[0].services[2]: presumed_ended_after is set, and a run of a job ends after max_run; remove it",
				"test.yaml:3:82: secrets[0].services[3]: max_run is missing; say how long a run of the job takes at most",
				`test.yaml:3:120: secrets[0].services[4].kind: "batch" is not possible here; use one of job, server`,
			},
		},
		"a consumer that is not possible": {
			"stores: {a: {type: natskv}}\nsecrets: [{id: a, consumers: [{name: b, confirm: soon}, {confirm: manual}, {name: c, confirm: after 0s}]}]",
			[]string{
				"test.yaml:2:50: secrets[0].consumers[0].confirm: it is neither manual nor a time; write manual, or after and a time, such as after 14d",
				"test.yaml:2:57: secrets[0].consumers[1]: name is missing; add name",
				"test.yaml:2:95: secrets[0].consumers[2].confirm: it has to be longer than 0; write manual, or after and a time, such as after 14d",
			},
		},
		"a user that is listed twice": {
			"stores: {a: {type: natskv}}\nsecrets: [{id: a, services: [x, {name: x, join: required}], consumers: [{name: x}]}]",
			[]string{
				"test.yaml:2:33: secrets[0].services[1]: x is listed twice among services and consumers; remove one, or give one another name",
				"test.yaml:2:73: secrets[0].consumers[0]: x is listed twice among services and consumers; remove one, or give one another name",
			},
		},
		"a sweep without a pause": {
			"scheduler: {sweep_every: 10ms}",
			[]string{"test.yaml:1:26: scheduler.sweep_every: it is shorter than a second; 5m is usual"},
		},
		"a margin that is inherited and too long": {
			"stores: {m: {type: natskv}}\ndefaults: {refresh_margin: 2h}\nsecrets:\n  - id: a\n    ttl: 1h\n",
			[]string{"test.yaml:5:10: secrets[0].ttl: 1h is not longer than refresh_margin (2h), so a version would be due at once; raise ttl well above the margin"},
		},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, problems(t, tt.text), tt.want...) })
	}
}
