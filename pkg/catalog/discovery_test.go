package catalog_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

func discovery() *catalog.Discovery {
	return &catalog.Discovery{
		Store: "main", Match: map[string]string{catalog.TagManaged: ""}, Prefix: "apps/", IDPrefix: "x/",
		Defaults: secret.Spec{TTL: 30 * 24 * time.Hour, Services: []string{"all"}},
		Policies: map[string]*secret.Policy{"pin": {MinLength: 8, Length: 8, Classes: []secret.Class{secret.ClassDigit}}},
	}
}

// tagged returns a secret with these tags and one version.
func tagged(tags map[string]string) secret.Metadata {
	all := map[string]string{catalog.TagManaged: "true", "team": "payments"}
	maps.Copy(all, tags)
	return secret.Metadata{Path: "apps/db", Attributes: all, Versions: []secret.Version{{ID: "1", Stage: secret.StageCurrent}}}
}

// TestTagsAreDocumented holds the table of docs/discovery.md against the code,
// and each of its examples.
func TestTagsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, tag := range catalog.Tags() {
		fmt.Fprintf(&want, "| `%s` | %s | `%s` |\n", tag.Key, tag.Value, tag.Example)
	}
	_, table, _ := strings.Cut(string(text), "| tag | value | such as |\n|---|---|---|\n")
	if table, _, _ = strings.Cut(table, "\n\n"); table+"\n" != want.String() {
		t.Errorf("the table of docs/discovery.md is not\n%s", &want)
	}
	for _, tag := range catalog.Tags() {
		if _, problems := discovery().Spec(tagged(map[string]string{tag.Key: tag.Example})); len(problems) > 0 {
			t.Errorf("the example of %s: %v", tag.Key, problems)
		}
		if !awsTakes(tag.Key, tag.Example) {
			t.Errorf("AWS does not take %s=%s", tag.Key, tag.Example)
		}
	}
}

// awsTakes reports whether AWS documents a tag as possible.
func awsTakes(key, value string) bool {
	const marks = " _.:/=+-@"
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune(marks, r)
	}
	return len(key) <= 128 && len(value) <= 256 && !strings.ContainsFunc(key+value, odd)
}

func TestWhatTagsSay(t *testing.T) {
	t.Parallel()
	spec, problems := discovery().Spec(tagged(map[string]string{
		"rotator:id": "DB", "rotator:ttl": "720h", "rotator:margin": "1h", "rotator:jitter": "none", "rotator:window": "Sat 01:00 6h + 03:00 1h",
		"rotator:policy": "pin", "rotator:services": "orders billing", "rotator:rollout": "prepare-then-activate", "rotator:grace": "0s",
		"rotator:deadline": "none", "rotator:retire": "keep", "rotator:disabled": "true", "rotator:kind": "binary",
		"rotator:consumers": "erp batch=14d", "rotator:fleets": "eu us", "rotator:no_subscribers": "retire-after-grace",
		"rotator:owner": "payments", "rotator:purpose": "signs orders", "rotator:contact": "payments@example.com",
	}))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if spec.ID != "DB" || spec.Store != "main" || spec.Path != "apps/db" || spec.TTL != 720*time.Hour || spec.Margin() != time.Hour || spec.MaxJitter >= 0 ||
		len(spec.Windows) != 2 || spec.ValuePolicy().MinLength != 8 || strings.Join(spec.Services, ",") != "orders,billing" || spec.Rollout != secret.RolloutPrepare ||
		spec.GracePeriod() != 0 || spec.RolloutDeadline() != 0 || spec.Retire != secret.RetireKeep || !spec.Disabled || spec.Create ||
		spec.Owner != "payments" || spec.Purpose != "signs orders" || spec.Contact != "payments@example.com" {
		t.Errorf("got %+v", spec)
	}
	if got, want := spec.Proof.String(), `{"consumers":[{"name":"erp"},{"name":"batch","after_ns":1209600000000000}],"no_subscribers":"retire-after-grace","fleets":["eu","us"]}`; got != want {
		t.Errorf("the proof is %s, want %s", got, want)
	}
	plain, problems := discovery().Spec(tagged(nil))
	if len(problems) > 0 || plain.ID != "x/apps/db" || plain.TTL != 30*24*time.Hour || plain.Services[0] != "all" {
		t.Errorf("without tags: %+v, problems %v", plain, problems)
	}
}

// TestWhereTheLifetimeComesFrom: the tag, else the store's rules, else the
// default.
func TestWhereTheLifetimeComesFrom(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		tag   string
		rules time.Duration
		want  time.Duration
	}{
		"the default":                    {"", 0, 30 * day},
		"the store's rules":              {"", 7 * day, 7 * day},
		"the tag comes before the rules": {"2d", 7 * day, 2 * day},
	} {
		m := tagged(nil)
		m.TTL = c.rules
		if c.tag != "" {
			m.Attributes["rotator:ttl"] = c.tag
		}
		spec, problems := discovery().Spec(m)
		if got := spec.Lifetime(m); len(problems) > 0 || got != c.want {
			t.Errorf("%s: %s, problems %v, want %s", name, got, problems, c.want)
		}
	}
}

func TestTagsThatCannotBeCarriedOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, value, want string
	}{
		"no duration":                {"rotator:ttl", "soon", `rotator:ttl: "soon" is not a duration`},
		"no lifetime at all":         {"rotator:ttl", "0s", "it has to be longer than 0"},
		"a negative one":             {"rotator:ttl", "-1h", "is not a duration"},
		"an empty value":             {"rotator:ttl", "", "it is empty"},
		"shorter than the margin":    {"rotator:ttl", "4m", "the refresh margin 5m0s is not shorter than the TTL 4m0s"},
		"a name that is misspelt":    {"rotator:tll", "30d", "rotator:tll: there is no such tag"},
		"a name in another case":     {"Rotator:TTL", "30d", "they are written in lower case"},
		"an unknown policy":          {"rotator:policy", "pins", `there is no policy "pins" in the configuration; it has pin`},
		"a service that is no name":  {"rotator:services", "orders, billing", "use letters, digits, _ and -"},
		"two spaces":                 {"rotator:services", "orders  billing", "0 characters"},
		"a service twice":            {"rotator:services", "a b a", `"a" is listed twice`},
		"a consumer twice":           {"rotator:consumers", "a b=1d a", "a is listed twice"},
		"a consumer with no time":    {"rotator:consumers", "a=0s", "longer than 0"},
		"a consumer with a word":     {"rotator:consumers", "a=manual", "is not a duration"},
		"a fleet twice":              {"rotator:fleets", "eu eu", `"eu" is listed twice`},
		"another word for hold":      {"rotator:no_subscribers", "keep", "is not hold or retire-after-grace"},
		"an id with a tab":           {"rotator:id", "a\tb", "invalid secret id"},
		"a window as cron":           {"rotator:window", "0 3 * * *", "is not of the form"},
		"an unknown word":            {"rotator:retire", "burn", `"burn" is not delete, keep or destroy`},
		"neither true nor false":     {"rotator:managed", "yes", `"yes" is not true or false`},
		"true in another case":       {"rotator:disabled", "True", `"True" is not true or false`},
		"a value of a thousand":      {"rotator:kind", strings.Repeat("b", 1000), "1000 bytes, the most is 512"},
		"a word of another rollout":  {"rotator:rollout", "prepare", "is not activate or prepare-then-activate"},
		"a store that cannot":        {"rotator:strategy", "external", "the store runs no rotations itself"},
		"the strategy's old name":    {"rotator:strategy", "managed", `strategy "managed" is called external now`},
		"an unknown strategy":        {"rotator:strategy", "burn", `strategy "burn" is unknown, use generate or external`},
		"a grace that is not a time": {"rotator:grace", "5", "is not a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := discovery().Spec(tagged(map[string]string{c.key: c.value}))
			if len(problems) != 1 || problems[0].Code != catalog.CodeInvalidTag || problems[0].Severity != secret.SeverityError || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("problems %v, want one with %q", problems, c.want)
			}
		})
	}
	m := tagged(nil)
	m.TTL = time.Minute
	if _, problems := discovery().Spec(m); len(problems) != 1 || !strings.Contains(problems[0].Message, "not shorter than the TTL 1m that the store sets") {
		t.Errorf("rules of the store within the margin: problems %v", problems)
	}
}

func TestWhatIsDiscovered(t *testing.T) {
	t.Parallel()
	managed := map[string]string{catalog.TagManaged: "true"}
	for name, c := range map[string]struct {
		change func(*catalog.Discovery)
		path   string
		tags   map[string]string
		want   bool
	}{
		"the tag is there":          {nil, "apps/a", managed, true},
		"another path":              {nil, "ops/a", managed, false},
		"no tags":                   {nil, "apps/a", nil, false},
		"other tags":                {nil, "apps/a", map[string]string{"team": "payments"}, false},
		"opted out":                 {nil, "apps/a", map[string]string{catalog.TagManaged: "false"}, false},
		"a value that is not right": {func(d *catalog.Discovery) { d.Match = map[string]string{"team": "payments"} }, "apps/a", map[string]string{"team": "orders"}, false},
		"one of two tags":           {func(d *catalog.Discovery) { d.Match = map[string]string{"team": "", "env": "prod"} }, "apps/a", map[string]string{"team": "x"}, false},
		"both tags":                 {func(d *catalog.Discovery) { d.Match = map[string]string{"team": "", "env": "prod"} }, "apps/a", map[string]string{"team": "x", "env": "prod"}, true},
		"nothing is asked for":      {func(d *catalog.Discovery) { d.Match = nil }, "apps/a", managed, false},
	} {
		d := discovery()
		if c.change != nil {
			c.change(d)
		}
		if got := d.Matches(c.path, c.tags); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
		scope := scoped(t, d, "listed/here/x").Scope("main")
		if got := scope.Secret(c.path, c.tags); got != c.want || got && !scope.Path(c.path) {
			t.Errorf("%s: in scope %t", name, got)
		}
	}
}

// TestFirstVersions: a secret that never had a version is given one, and one
// whose versions were taken away is not.
func TestFirstVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		versions []secret.Version
		want     bool
	}{
		"none yet":                     {nil, true},
		"a first one is pending":       {[]secret.Version{{ID: "1", Stage: secret.StagePending}}, true},
		"the current one was deleted":  {[]secret.Version{{ID: "1", Stage: secret.StageRetired, Empty: true}}, false},
		"there is one":                 {[]secret.Version{{ID: "1", Stage: secret.StageCurrent}}, false},
		"there was one, and a pending": {[]secret.Version{{ID: "1", Stage: secret.StageRetired}, {ID: "2", Stage: secret.StagePending}}, false},
	} {
		m := tagged(nil)
		m.Versions = c.versions
		if spec, _ := discovery().Spec(m); spec.Create != c.want {
			t.Errorf("%s: create is %t", name, spec.Create)
		}
	}
}

func TestTheConfigurationWins(t *testing.T) {
	t.Parallel()
	configured := secret.Spec{ID: "DB", Store: "main", Path: "apps/db", TTL: 24 * time.Hour, Services: []string{"b", "a"}, Grace: 5 * time.Minute}
	same := tagged(map[string]string{"rotator:id": "DB", "rotator:ttl": "1d", "rotator:services": "a b", "rotator:grace": "300s", "rotator:retire": "delete", "rotator:margin": "5m", "rotator:no_subscribers": "hold"})
	if problems := discovery().Conflicts(configured, same); len(problems) > 0 {
		t.Errorf("tags that say the same conflict: %v", problems)
	}
	other := tagged(map[string]string{"rotator:ttl": "7d", "rotator:services": "a", "rotator:grace": "later", "rotator:policy": "pin", "rotator:id": "OTHER"})
	got := map[string]string{}
	for _, p := range discovery().Conflicts(configured, other) {
		got[p.Subject] = string(p.Code) + " " + p.Message
		if p.Severity != secret.SeverityWarning {
			t.Errorf("%s: severity %q, although the configuration is in force", p.Subject, p.Severity)
		}
	}
	want := map[string]string{
		"rotator:ttl":      `conflict "7d"; the configuration says 1d, and holds`,
		"rotator:services": `conflict "a"; the configuration says "a b", and holds`,
		"rotator:id":       `conflict "OTHER"; the configuration says DB, and holds`,
		"rotator:grace":    `invalid_tag "later" is not a duration`,
		"rotator:policy":   `conflict "pin"; the configuration says the rules ` + secret.DefaultPolicy().Hash() + `, and holds`,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var none *catalog.Discovery
	if problems := none.Conflicts(configured, other); problems != nil {
		t.Errorf("where nothing is discovered tags mean nothing: %v", problems)
	}
}

// FuzzTags takes any tags: nothing panics, and a secret without problems has a
// spec that can be carried out.
func FuzzTags(f *testing.F) {
	for _, tag := range catalog.Tags() {
		f.Add(tag.Key, tag.Example, "rotator:ttl", "1h", "apps/db")
	}
	f.Add("rotator:ttl", "6m", "rotator:margin", "6m", "apps/db")
	f.Add("ROTATOR:", "\x00", "rotator:services", " ", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, path string) {
		m := secret.Metadata{Path: path, Attributes: map[string]string{k1: v1, k2: v2}, TTL: time.Hour}
		spec, problems := discovery().Spec(m)
		if len(problems) > 0 {
			return
		}
		if err := spec.Validate(); err != nil {
			t.Errorf("%q=%q, %q=%q: no problem, and %v", k1, v1, k2, v2, err)
		}
		if life := spec.Lifetime(m); spec.Margin() >= life {
			t.Errorf("%q=%q, %q=%q: a margin of %s in a life of %s", k1, v1, k2, v2, spec.Margin(), life)
		}
		if problems := discovery().Conflicts(spec, m); len(problems) > 0 {
			t.Errorf("a secret conflicts with itself: %v", problems)
		}
	})
}
