package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// Whatever the file and the environment hold: no panic, every problem says
// where it is, and what is accepted reads back from its own rendering.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{examples + "/*.yaml", "testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, "7")
		}
	}
	for _, text := range []string{"", "~", "[]", "a: &a [*a]", "? [a]\n: b", "stores: {m: ~}", "secrets: [~, [], {id: ~}]", "defaults: {policy: {}}", "\xff", "a: !!binary x", "<<: {}", "%YAML 1.2\n---\n{}", "stores: {m: {type: env}}\nsecrets: [{id: a}]"} {
		f.Add([]byte(text), "")
	}
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		environ := []string{"ROTATOR_WORKER_CONCURRENCY=" + env, "ROTATOR_NATS_PREFIX=" + env, "ROTATOR_DEFAULTS_POLICY=" + env, "ROTATOR_SIGNING_KEY_FILE=" + env}
		c, err := config.Parse(data, "fuzz.yaml", environ)
		if err != nil {
			checkProblems(t, err)
			return
		}
		a, err := c.Specs()
		if err != nil {
			t.Fatalf("accepted, and then: %v", err)
		}
		text, err := config.Render(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(text, "rendered.yaml", nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if b, err := again.Specs(); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%v: %+v became %+v", err, a, b)
		}
	})
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	for _, p := range problems {
		placed := p.File == "fuzz.yaml" && p.Line > 0 && p.Column > 0
		if !placed && !strings.HasPrefix(p.File, "ROTATOR_") && !strings.HasSuffix(p.Message, "more problems") {
			t.Errorf("the problem names no place: %+v", p)
		}
		if p.Message == "" {
			t.Errorf("nothing is said: %+v", p)
		}
	}
}
