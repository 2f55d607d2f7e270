package secret

import (
	"fmt"
	"time"
)

// The codes of promises that a store cannot keep, see [Spec.Unkept].
const (
	// CodeLifetime: the margin takes nearly all of the lifetime.
	CodeLifetime FindingCode = "store_lifetime"
	// CodeStoreEnd: the store ends the current version before the TTL does.
	CodeStoreEnd FindingCode = "store_end"
	// CodeKeep: the store drops values that retire: keep is about.
	CodeKeep FindingCode = "store_keep"
	// CodeOneVersion: the store drops the previous version at each promotion.
	CodeOneVersion FindingCode = "store_one_version"
)

// UnkeptCodes returns every code of [Spec.Unkept].
func UnkeptCodes() []FindingCode {
	return []FindingCode{CodeLifetime, CodeStoreEnd, CodeKeep, CodeOneVersion}
}

// Spacing is the share of its lifetime, as a divisor, that lies at least between two
// scheduled rotations of a secret.
const Spacing = 10

// enoughVersions is how many versions a store has to keep for [RetireKeep] to count
// as a promise that it keeps. spareVersions are those that it must have left.
const enoughVersions, spareVersions = 100, 2

// Crowded reports whether a margin leaves so little of a lifetime that the spacing
// between rotations decides when a secret rotates.
func Crowded(lifetime, margin time.Duration) bool {
	return lifetime > 0 && lifetime-margin < lifetime/Spacing
}

// Unkept returns what the spec promises and the store of the secret, by its
// metadata, cannot keep. All are warnings: the secret is rotated all the same.
func (s Spec) Unkept(m Metadata) []Finding {
	var out []Finding
	warn := func(code FindingCode, remedy, format string, args ...any) {
		out = append(out, Finding{Code: code, Severity: SeverityWarning, Message: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	cur := m.Current()
	end, life := s.NotAfter(m, cur), s.Lifetime(m)
	if cur.ID != "" && !end.IsZero() {
		life = end.Sub(cur.CreatedAt)
	}
	if Crowded(life, s.Margin()) {
		warn(CodeLifetime, "lower refresh_margin, or lengthen the lifetime", "the refresh margin %s leaves less than a tenth of the lifetime %s, so rotations are put off",
			FormatDuration(s.Margin()), FormatDuration(life.Round(time.Second)))
	}
	if s.TTL > 0 && cur.ID != "" && end.Before(cur.CreatedAt.Add(s.TTL).Add(-time.Second)) {
		warn(CodeStoreEnd, "lengthen the lifetime in the store, or shorten ttl", "the store ends the current version at %s, before its TTL %s", end.UTC().Format(time.RFC3339), FormatDuration(s.TTL))
	}
	switch limit := m.MaxVersions; {
	case limit <= 0:
	case limit == 1:
		warn(CodeOneVersion, "raise max_versions to 2 or more", "the store keeps one version, so the previous version is lost at each rotation, whatever grace says")
	case s.RetireMode() == RetireKeep && (limit < enoughVersions || m.held()+spareVersions >= limit):
		warn(CodeKeep, fmt.Sprintf("raise max_versions to %d or more", max(enoughVersions, 2*limit)), "the store keeps %d versions, so it drops values that retire: keep is to keep", limit)
	}
	return out
}

// held returns how many versions have a value.
func (m Metadata) held() (n int) {
	for _, v := range m.Versions {
		if !v.Empty && v.Stage != StagePending {
			n++
		}
	}
	return n
}
