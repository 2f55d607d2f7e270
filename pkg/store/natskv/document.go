package natskv

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// document is what stands in a document key.
type document struct {
	Path string `json:"path"`
	// Incarnation is a nonce of this document, absent in one that an earlier version
	// made: there a version has the token as its id.
	Incarnation string     `json:"incarnation,omitempty"`
	Versions    []recorded `json:"versions"`
	revision    uint64
}

// recorded is a version in a document.
type recorded struct {
	version
	// Ref is the last part of the key of its sealed value.
	Ref string `json:"ref,omitempty"`
	// Retiring: the version is retired for good, and its value may still be there.
	Retiring bool `json:"retiring,omitempty"`
}

type version struct {
	ID        secret.VersionID `json:"id"`
	Stage     secret.Stage     `json:"stage"`
	Token     secret.Token     `json:"token,omitempty"`
	CreatedAt time.Time        `json:"created_at"`
	NotAfter  time.Time        `json:"not_after,omitzero"`
	Empty     bool             `json:"empty,omitempty"`
	Kept      bool             `json:"kept,omitempty"`
}

func (doc *document) versions() []secret.Version {
	out := make([]secret.Version, len(doc.Versions))
	for i, v := range doc.Versions {
		out[i] = secret.Version(v.version)
	}
	return out
}

// set replaces the versions; each keeps its value.
func (doc *document) set(versions []secret.Version) {
	out := make([]recorded, len(versions))
	for i, v := range versions {
		out[i] = recorded{version: version(v), Ref: doc.ref(v.ID)}
		if had := doc.find(v.ID); had != nil {
			out[i].Retiring = had.Retiring
		}
	}
	doc.Versions = out
}

// find returns what is recorded of a version, nil for none.
func (doc *document) find(id secret.VersionID) *recorded {
	for i := range doc.Versions {
		if doc.Versions[i].ID == id {
			return &doc.Versions[i]
		}
	}
	return nil
}

// ref returns the reference of a version's value, "" for none.
func (doc *document) ref(id secret.VersionID) string {
	if v := doc.find(id); v != nil {
		return v.Ref
	}
	return ""
}

// refers reports whether a version of the document has the value. That of a
// version that is retired for good is not its any more.
func (doc *document) refers(k sealedKey) bool {
	v := doc.find(k.version)
	return v != nil && v.Ref == k.ref && !v.Retiring
}

func (doc *document) current() secret.VersionID {
	return secret.Metadata{Versions: doc.versions()}.Current().ID
}

// put replaces the versions, of which the last one is new and has the value
// under ref.
func (doc *document) put(versions []secret.Version, ref string) {
	doc.set(versions)
	doc.Versions[len(versions)-1].Ref = ref
}

func (doc *document) metadata() secret.Metadata {
	return secret.Metadata{Path: doc.Path, Incarnation: doc.Incarnation, Versions: doc.versions()}
}
