package store_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestTheDiagramShowsEveryStage holds the diagram of a version in the glossary to
// what Document does: every operation on every document that a few operations
// lead to.
func TestTheDiagramShowsEveryStage(t *testing.T) {
	t.Parallel()
	moves, seen := map[string]bool{}, map[string]bool{}
	var explore func(versions []secret.Version, depth int)
	explore = func(versions []secret.Version, depth int) {
		key := fmt.Sprint(versions)
		if depth == 0 || seen[key] {
			return
		}
		seen[key] = true
		for _, op := range operations(versions) {
			d := store.Document{Versions: slices.Clone(versions)}
			op(&d)
			note(moves, versions, d.Versions)
			explore(d.Versions, depth-1)
		}
	}
	explore(nil, 7)
	if got, want := slices.Sorted(maps.Keys(moves)), edges(t, "A version"); !slices.Equal(got, want) {
		t.Errorf("the code moves\n%s\nthe diagram shows\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// operations returns every operation on a document of these versions. What an
// operation refuses leaves the document as it was.
func operations(versions []secret.Version) []func(*store.Document) {
	m := secret.Metadata{Versions: versions}
	pending, _ := m.At(secret.StagePending)
	var out []func(*store.Document)
	for _, replace := range []secret.VersionID{"", pending.ID} {
		w := store.Write{Token: secret.Token(fmt.Sprint("v", len(versions))), From: m.Current().ID, Replace: replace}
		out = append(out, func(d *store.Document) { _, _, _ = d.Put(w, time.Time{}) })
	}
	for _, v := range versions {
		out = append(out,
			func(d *store.Document) { _, _ = d.Promote(m.Current().ID, v.ID) },
			func(d *store.Document) { _, _ = d.Retire(v.ID, secret.RetireDelete) },
			func(d *store.Document) { _, _ = d.Retire(v.ID, secret.RetireKeep) })
	}
	return out
}

func note(moves map[string]bool, before, after []secret.Version) {
	was := secret.Metadata{Versions: before}
	for _, v := range after {
		old, ok := was.Version(v.ID)
		switch {
		case !ok:
			moves["[*] "+string(v.Stage)] = true
		case old.Stage != v.Stage:
			moves[string(old.Stage)+" "+string(v.Stage)] = true
		}
	}
}

// edges returns the arrows of the diagram below a heading of the glossary.
func edges(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the glossary has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+) --> (\S+):`).FindAllStringSubmatch(section, -1) {
		out = append(out, m[1]+" "+m[2])
	}
	slices.Sort(out)
	return out
}
