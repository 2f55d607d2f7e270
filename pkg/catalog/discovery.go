package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrInvalidTags is wrapped by the error for a discovered secret whose tags
// cannot be carried out. It is not rotated until they can.
var ErrInvalidTags = errors.New("invalid tags")

// Discovery says which secrets of a store are managed although no configuration
// lists them: those that match say so, and what is configured for them, in their
// tags or custom metadata. Do not copy or change one that is in use.
type Discovery struct {
	// Store is the name of the store.
	Store string
	// Match are the tags that a secret has to carry, all of them; one without a
	// value matches any. Required: without any, nothing is discovered.
	Match map[string]string
	// Prefix is what a path has to begin with. "" is any.
	Prefix string
	// IDPrefix is put before the path to make the id of a secret whose tags name
	// none.
	IDPrefix string
	// Defaults apply where the tags of a secret do not say otherwise. ID, Store,
	// Path and Create have no effect.
	Defaults secret.Spec
	// Policies are those that tags can name.
	Policies map[string]*secret.Policy

	external bool // the store's service can rotate a secret itself
	windows  parsed
}

// The codes of findings about tags.
const (
	// CodeInvalidTag: a tag cannot be carried out. A discovered secret is not
	// scheduled then, which is an error; with a configured one it is a warning.
	CodeInvalidTag secret.FindingCode = "invalid_tag"
	// CodeConflict: a tag contradicts the configuration, which wins.
	CodeConflict secret.FindingCode = "conflict"
	// CodeCollision: another secret has the id already. This one is not
	// scheduled.
	CodeCollision secret.FindingCode = "collision"
)

// Codes returns every code that an [Entry] may have.
func Codes() []secret.FindingCode {
	return append([]secret.FindingCode{CodeInvalidTag, CodeConflict, CodeCollision}, secret.UnkeptCodes()...)
}

// invalidTag returns the finding for a tag, "" for several or none, that cannot
// be carried out.
func invalidTag(tag, message string) secret.Finding {
	return secret.Finding{Code: CodeInvalidTag, Severity: secret.SeverityError, Subject: tag, Message: message}
}

// Covers reports whether a secret may be discovered at a path, as far as its path
// tells. Nil covers nothing.
func (d *Discovery) Covers(path string) bool {
	return d != nil && len(d.Match) > 0 && strings.HasPrefix(path, d.Prefix)
}

// Matches reports whether a secret is discovered. One that says
// rotator:managed=false is not.
func (d *Discovery) Matches(path string, attributes map[string]string) bool {
	if !d.Covers(path) || attributes[TagManaged] == "false" {
		return false
	}
	for key, want := range d.Match {
		if got, ok := attributes[key]; !ok || want != "" && got != want {
			return false
		}
	}
	return true
}

// Spec returns what is configured for a secret that matches, and what is wrong
// with its tags. With findings the spec must not be used to rotate; its ID is set
// if the secret has a valid one all the same.
//
// The lifetime is what the tag says, else what the store's own rules say, else
// the default.
func (d *Discovery) Spec(m secret.Metadata) (secret.Spec, []secret.Finding) {
	spec := d.Defaults
	spec.ID, spec.Store, spec.Path = secret.ID(d.IDPrefix+m.Path), d.Store, m.Path
	// A secret that was created without a value gets its first one. One whose
	// versions were removed on purpose does not get another.
	spec.Create = !slices.ContainsFunc(m.Versions, func(v secret.Version) bool { return v.Stage != secret.StagePending })
	if m.TTL > 0 {
		spec.TTL = 0
	}
	findings := d.apply(&spec, m.Attributes)
	spec.Create = spec.Create && spec.Strategy != secret.StrategyExternal
	if len(findings) == 0 {
		findings = d.check(spec, m)
	}
	if spec.ID.Validate() != nil {
		spec.ID = ""
	}
	return spec, findings
}

// apply writes what the tags say into a spec.
func (d *Discovery) apply(spec *secret.Spec, attributes map[string]string) []secret.Finding {
	var findings []secret.Finding
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if !strings.HasPrefix(strings.ToLower(key), tagPrefix) {
			continue
		}
		if err := d.set(spec, key, attributes[key]); err != nil {
			findings = append(findings, invalidTag(key, err.Error()))
		}
	}
	return findings
}

// check returns what is wrong with tags each of which is valid by itself.
func (d *Discovery) check(spec secret.Spec, m secret.Metadata) []secret.Finding {
	var findings []secret.Finding
	if spec.Strategy == secret.StrategyExternal && !d.external {
		findings = append(findings, invalidTag("", "the strategy is external, and the store runs no rotations itself"))
	}
	if life := spec.Lifetime(m); spec.TTL == 0 && life > 0 && spec.Margin() >= life {
		findings = append(findings, invalidTag("", fmt.Sprintf("the refresh margin %s is not shorter than the TTL %s that the store sets", secret.FormatDuration(spec.Margin()), secret.FormatDuration(life))))
	}
	err := spec.Validate()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			message := strings.TrimPrefix(err.Error(), fmt.Sprintf("%v %s: ", secret.ErrInvalidSpec, spec.ID))
			findings = append(findings, invalidTag("", message))
		}
	}
	return findings
}

// Conflicts returns where the tags of a configured secret contradict the
// configuration or cannot be carried out. The configuration wins either way.
func (d *Discovery) Conflicts(configured secret.Spec, m secret.Metadata) []secret.Finding {
	if d == nil {
		return nil
	}
	tagged := configured
	findings := d.apply(&tagged, m.Attributes)
	for i := range findings {
		findings[i].Severity = secret.SeverityWarning // the configuration is in force
	}
	for _, t := range tags {
		text, ok := m.Attributes[t.Key]
		if !ok || t.get == nil || t.get(tagged) == t.get(configured) {
			continue
		}
		findings = append(findings, secret.Finding{
			Code: CodeConflict, Severity: secret.SeverityWarning, Subject: t.Key, Message: fmt.Sprintf("%s; the configuration says %s, and holds", shorten(text), t.get(configured)),
		})
	}
	return findings
}
