package config

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Formats are what is checked and patterns what editors check: one without the
// other would be an error that is not reported, or not seen while typing.
func TestSchemaHasNoFormatThatIsNotChecked(t *testing.T) {
	var known []string
	for _, f := range formats() {
		known = append(known, f.name)
	}
	used := map[string]bool{}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if f, ok := v["format"].(string); ok {
				if used[f] = true; !slices.Contains(known, f) {
					t.Errorf("no check for the format %s", f)
				}
			} else if p, ok := v["pattern"].(string); ok {
				t.Errorf("the pattern %s stands without a format", p)
			}
			for key, below := range v {
				if key != "properties" {
					visit(below)
					continue
				}
				for _, p := range below.(map[string]any) {
					visit(p)
				}
			}
		case []any:
			for _, below := range v {
				visit(below)
			}
		}
	}
	visit(loadSchema().source)
	for _, name := range known {
		if !used[name] {
			t.Errorf("nothing has the format %s", name)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"ttl", "refresh_margin", "max_jitter", "services"}
	for word, want := range map[string]string{
		"tll": "ttl", "TTL": "ttl", "refreshmargin": "refresh_margin", "refresh-margin": "refresh_margin", "service": "services", "jitter": "",
		"x": "", "": "", "completely else": "", "sevrices": "services",
	} {
		if got, _ := suggest(word, known); got != want {
			t.Errorf("%q suggests %q, want %q", word, got, want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	word := rapid.StringMatching(`[ab_]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if (d == 0) != (a == b) || d != distance(b, a) || d > max(len(a), len(b)) {
			t.Fatalf("%q and %q are %d apart, the other way %d", a, b, d, distance(b, a))
		}
	})
}
