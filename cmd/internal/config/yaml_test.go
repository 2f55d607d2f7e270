package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

func TestWhatAFileMayBeMadeOf(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a file of 4 MiB and a byte":  {strings.Repeat("#", config.MaxSize+1), "test.yaml:1:1: the file is larger than 4 MiB; split the secrets over several configurations"},
		"bytes that are not UTF-8":    {"# ok\nnats:\n  url: \xff\n", "test.yaml:3:8: the file is not UTF-8; save it as UTF-8"},
		"two documents":               {"nats: {}\n---\nnode: {}\n", "test.yaml:2:1: a second document begins; keep the configuration in one document, without ---"},
		"a list":                      {"- a\n", "test.yaml:1:1: want a section with keys, got a list"},
		"a word":                      {"rotator\n", "test.yaml:1:1: want a section with keys, got text"},
		"one key twice":               {"log:\n  level: info\n  level: warn\n", "test.yaml:3:3: log.level: the key stands here twice, first in line 2; remove one"},
		"a number as a key":           {"stores:\n  1: {type: env}\n", "test.yaml:2:3: stores: a key has to be a plain word; write it in quotes"},
		"a merge key":                 {"x: &x {level: info}\nlog:\n  <<: *x\n", "test.yaml:1:1: x: unknown key; use one of agent, audit_sources, aws_events, defaults, eventbridge, freeze, http, lambda, log, nats, node, notifier, policies, readers, scheduler, secrets, services, signing, stores, targets, worker\ntest.yaml:3:3: log: merge keys are not supported; use defaults for what secrets have in common"},
		"a tag":                       {"nats:\n  prefix: !!str 5\n", "test.yaml:2:11: nats.prefix: YAML tags are not supported; write the value without one"},
		"an alias of nothing":         {"log:\n  level: *x\n", "test.yaml:2:10: log.level: no anchor of this name stands before it; check the name after *"},
		"an anchor that has itself":   {"log: &x\n  level: *x\n", "test.yaml:2:10: log.level: no anchor of this name stands before it; check the name after *"},
		"tabs":                        {"log:\n\tlevel: info\n", "test.yaml:2:1: it is not YAML: found character '\t' that cannot start any token; check indentation, quotes and brackets near here"},
		"a quote that does not close": {"log:\n  level: \"info\n", "test.yaml:2:10: it is not YAML: could not find end character of double-quoted text; check indentation, quotes and brackets near here"},
		"brackets without an end":     {strings.Repeat("[", 1<<16), "test.yaml:1:17: nested too deep; nothing in a configuration needs as much"},
		"braces without an end":       {strings.Repeat("{a: ", 1<<16), "test.yaml:1:65: nested too deep; nothing in a configuration needs as much"},
		"dashes without an end":       {strings.Repeat("- ", 1<<16), "test.yaml:1:33: nested too deep; nothing in a configuration needs as much"},
		"stairs":                      {stairs(200), "test.yaml:65:65: nested too deep; nothing in a configuration needs as much"},
		"too many keys":               {manyKeys(5000), "test.yaml:4098:3: too many keys in one section; nothing in a configuration needs as much"},
		"infinity":                    {"worker:\n  takeover_attempts: .inf\n", "test.yaml:2:22: worker.takeover_attempts: want a whole number, got text"},
		"a number beyond measure":     {"worker:\n  takeover_attempts: 99999999999999999999999\n", "test.yaml:2:22: worker.takeover_attempts: want a whole number, got text"},
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, problems(t, tt.text), strings.Split(tt.want, "\n")...) })
	}
}

// stairs returns n mappings in each other.
func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

// manyKeys returns a section with n keys.
func manyKeys(n int) string {
	var b strings.Builder
	b.WriteString("policies:\n")
	for i := range n {
		fmt.Fprintf(&b, "  p%d: {length: 8}\n", i)
	}
	return b.String()
}

func TestAListMayBeLong(t *testing.T) {
	var b strings.Builder
	b.WriteString("stores: {m: {type: natskv}}\nsecrets:\n")
	const n = 5000
	for i := range n {
		fmt.Fprintf(&b, "- id: s%d\n  ttl: 30d\n", i)
	}
	if specs, err := parse(t, b.String()).Specs(); err != nil || len(specs) != n {
		t.Errorf("got %d, %v", len(specs), err)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	got := problems(t, "stores: {m: {type: natskv}}\nsecrets: ["+strings.Repeat("{id: a},", 5000)+"]")
	if len(got) != 1001 || got[1000] != "test.yaml: 3999 more problems" {
		t.Errorf("got %d, the last %s", len(got), got[len(got)-1])
	}
}

func TestAliasesAreCopies(t *testing.T) {
	c := parse(t, `
stores:
  a: &kv {type: natskv, bucket: one}
  b: {type: env}
defaults: {store: a}
secrets:
  - id: x
    services: &svc [api, web]
  - id: y
    services: *svc
`)
	if got := c.Secrets[1].Services; len(got) != 2 || got[1].Name != "web" {
		t.Errorf("got %v", got)
	}
	// An override of what an alias stands for does not reach the anchor.
	c = parse(t, "http: {listen: &a '127.0.0.1:1', notifier_listen: *a}\n", "ROTATOR_HTTP_NOTIFIER_LISTEN=127.0.0.1:2")
	if c.HTTP.Listen != "127.0.0.1:1" || c.HTTP.NotifierListen != "127.0.0.1:2" {
		t.Errorf("got %+v", c.HTTP)
	}
}

func TestAliasBombsAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("secrets:\n  - id: a\n    services: &a0 [a, b, c, d, e, f, g, h, i]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "  - id: a%d\n    services: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	got := strings.Join(problems(t, b.String()), "\n")
	if n := strings.Count(got, "aliases make the configuration too large"); n != 1 {
		t.Errorf("refused %d times", n)
	}
	if len(got) > 10<<20 {
		t.Errorf("%d bytes of problems", len(got))
	}
}

func TestColumnsAreCharacters(t *testing.T) {
	wantProblems(t, problems(t, "log: {level: info, größe: 1}"),
		`test.yaml:1:20: log["größe"]: unknown key; use one of format, level`)
}

func TestWindowsLineEndings(t *testing.T) {
	wantProblems(t, problems(t, "log:\r\n  level: loud\r\n"), `test.yaml:2:10: log.level: "loud" is not possible here; use one of debug, error, info, warn`)
}

// Whatever is written where no secret belongs, its text is in no problem.
func TestSecretsAreNotRepeated(t *testing.T) {
	const canary = "canary-S3cret-0123456789"
	for name, text := range map[string]string{
		"for a reference":                 "nats: {credentials: {user: u, password: %s}}",
		"in a list for a reference":       "nats: {credentials: {user: u, password: [%s]}}",
		"as the name of a variable":       "nats: {credentials: {user: u, password: {env: '%s'}}}",
		"as a private key":                "nats: {tls: {cert: c, key: '-----BEGIN PRIVATE KEY-----%s'}}",
		"with line breaks as a file":      "signing: {key: {file: \"%s\\n\"}}",
		"in a URL":                        "nats: {url: 'nats://u:%s@host'}",
		"in a URL with an unknown scheme": "nats: {url: 'http://u:%s@host'}",
		"in the query of a URL":           "nats: {url: 'nats://host?token=%s'}",
		"in a broken URL":                 "nats: {url: 'nats://u:%s@ho st:x'}",
		"for a section":                   "signing: %s",
		"as the value of an unknown key":  "stores: {m: {type: natskv, master: %s}}",
		"where YAML breaks":               "nats: {url: \"%s",
		"twice under one key":             "nats: {user: %[1]s, user: %[1]s}",
		"for a number":                    "worker: {takeover_attempts: %s}",
	} {
		t.Run(name, func(t *testing.T) {
			got := problems(t, fmt.Sprintf(text, canary))
			if len(got) == 0 {
				t.Fatal("no problem")
			}
			if strings.Contains(strings.Join(got, "\n"), canary) {
				t.Errorf("it is in %q", got)
			}
		})
	}
}

func TestAnNKeySeedIsNotTheNameOfAFile(t *testing.T) {
	seed := "SUAGMJH5XLGZKQQWAWKRZJIGMOU4HPFUYLXJMXOO5NLFEO2OOQJ5LPRDPM"
	wantProblems(t, problems(t, "nats: {credentials: {nkey_file: "+seed+"}}"),
		"test.yaml:1:33: nats.credentials.nkey_file: this is the secret itself, not the name of its file; name a file that holds it")
}
