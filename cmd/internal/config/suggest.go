package config

import (
	"slices"
	"strings"
)

// Suggest returns what an operator meant who wrote word where one of known was wanted,
// and false when nothing is close.
func Suggest(word string, known []string) (string, bool) { return suggest(word, known) }

// suggest returns what an operator meant who wrote word where one of known was
// wanted, and false when nothing is close.
func suggest(word string, known []string) (string, bool) {
	best, least := "", max(1, min(3, len(word)/3))+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < min(least, len(word)) {
			best, least = k, d
		}
	}
	return best, best != ""
}

// renamed maps words of earlier versions, keys and values, to their new names.
var renamed = map[string]string{
	"managed":          "external",
	"managed_deadline": "external_deadline",
	"patience":         "takeover_attempts",
}

// renamedVariable returns the variable of known that name was before its last
// words were renamed, and false when there is none.
func renamedVariable(name string, known []string) (string, bool) {
	for before, now := range renamed {
		head, found := strings.CutSuffix(name, "_"+strings.ToUpper(before))
		if next := head + "_" + strings.ToUpper(now); found && slices.Contains(known, next) {
			return next, true
		}
	}
	return "", false
}

// didYouMean returns a remedy for a word that is none of known.
func didYouMean(word string, known []string) string {
	if now := renamed[word]; slices.Contains(known, now) {
		return "it is called " + quote(now) + " now"
	}
	if s, ok := suggest(word, known); ok {
		return "did you mean " + quote(s) + "?"
	}
	if len(known) == 0 {
		return "none is configured"
	}
	return "use one of " + list(known)
}

// maxListed bounds how many words a remedy lists.
const maxListed = 24

// list returns the words in order, joined by commas.
func list(words []string) string {
	w := slices.Sorted(slices.Values(words))
	if len(w) > maxListed {
		return strings.Join(w[:maxListed], ", ") + ", …"
	}
	return strings.Join(w, ", ")
}

// maxCompared bounds what distance works on: longer words are far from all.
const maxCompared = 64

// distance returns how many letters have to be inserted, deleted, replaced or
// swapped with their neighbour to make a to b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxCompared || len(b) > maxCompared {
		return maxCompared
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
