package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// roundTrip fails the test unless what Render writes is read as c again.
func roundTrip(t *testing.T, c *config.Config) string {
	t.Helper()
	text, err := config.Render(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse(text, "rendered.yaml", nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	a, errA := c.Specs()
	b, errB := again.Specs()
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("the specs differ: %v, %v\n%+v\n%+v", errA, errB, a, b)
	}
	if len(c.Warnings()) != len(again.Warnings()) {
		t.Errorf("warnings were %v and are %v", c.Warnings(), again.Warnings())
	}
	second, err := config.Render(again)
	if err != nil || string(second) != string(text) {
		t.Errorf("%v\n%s\nbecomes\n%s", err, text, second)
	}
	return string(text)
}

func TestRenderIsReadBack(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "testdata/everything.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := config.Load(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, c)
		})
	}
}

func TestRenderShowsWhatIsInForce(t *testing.T) {
	c := parse(t, "stores: {m: {type: natskv, master_key: {env: MASTER}}}\nsecrets: [{id: a, max_jitter: 0s}]",
		"ROTATOR_WORKER_CONCURRENCY=7", "MASTER=hunter2", "ROTATOR_DEFAULTS_TTL=36h")
	got := roundTrip(t, c)
	for _, want := range []string{"concurrency: 7", "env: MASTER", "ttl: 1d12h", "max_jitter: none", "sweep_every: 5m", "store: m"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Error("a secret is shown")
	}
}

// everything.yaml has every key there is, so that no key can be forgotten in
// one of the steps from text to text.
func TestEverythingIsEverything(t *testing.T) {
	b, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	keys := 0
	eachSchema(schema, func(s map[string]any) {
		props, _ := s["properties"].(map[string]any)
		for key := range props {
			if keys++; !strings.Contains(string(b), key+":") {
				t.Errorf("%s is not in it", key)
			}
		}
	})
	if keys < 60 {
		t.Errorf("only %d keys found", keys)
	}
}

// eachSchema calls visit for every object of a schema.
func eachSchema(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, below := range v {
			eachSchema(below, visit)
		}
	case []any:
		for _, below := range v {
			eachSchema(below, visit)
		}
	}
}
