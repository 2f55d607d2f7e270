package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
)

// rules are what is looked for, the causes before what they bring about.
var rules = []func(Facts) []Finding{
	reached, unread, streams, quotas, clocks, keys, roles, sweeps, configs,
	unreadable, due, failing, stalled, drift, unverified, credentials, flood,
	silent, absent, old, unlisted, timers, orphans, owners, subscribers,
}

// Diagnose returns what is wrong by the facts: errors before warnings, and among them a
// cause before what it brings about. Nothing is wrong with a healthy system.
func Diagnose(f Facts) []Finding {
	out := []Finding{}
	for _, rule := range rules {
		found := rule(f)
		slices.SortStableFunc(found, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject))
		})
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return slices.CompactFunc(out, func(a, b Finding) bool { return a.Finding == b.Finding })
}

func rank(f Finding) int {
	if f.Severity == secret.SeverityError {
		return 0
	}
	return 1
}

// broken returns a finding about something that does not work.
func broken(code secret.FindingCode, subject, evidence, remedy string) Finding {
	return Finding{Finding: secret.Finding{Code: code, Severity: secret.SeverityError, Subject: subject, Message: evidence, Remedy: remedy}}
}

// doubtful returns a finding about something that works, and probably not as it should.
func doubtful(code secret.FindingCode, subject, evidence, remedy string) Finding {
	f := broken(code, subject, evidence, remedy)
	f.Severity = secret.SeverityWarning
	return f
}

// fixed returns f with a remedy that is safe.
func (f Finding) with(x Fix) Finding {
	f.Fix = &x
	return f
}

// maxNamed bounds how many things of a kind a sentence names.
const maxNamed = 3

// named lists the first of some names.
func named[T ~string](all []T) string {
	var out []string
	for _, n := range all[:min(len(all), maxNamed)] {
		out = append(out, string(n))
	}
	text := strings.Join(out, ", ")
	if more := len(all) - len(out); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
