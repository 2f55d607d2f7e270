package secret

import (
	"errors"
	"fmt"
	"time"
)

// MaxVersionIDLength is the longest [VersionID], in bytes.
const MaxVersionIDLength = 128

// ErrInvalidVersionID is returned by [VersionID.Validate].
var ErrInvalidVersionID = errors.New("invalid version id")

// VersionID names one immutable value of a secret. It is opaque: AWS gives
// UUIDs, Vault integers. Compare it for equality only; order versions by
// [Version.CreatedAt]. The zero value means "no version".
type VersionID string

// Validate returns an error that wraps [ErrInvalidVersionID] unless the id has
// 1 to [MaxVersionIDLength] bytes of printable ASCII without spaces.
func (v VersionID) Validate() error {
	if v == "" || len(v) > MaxVersionIDLength {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrInvalidVersionID, len(v), MaxVersionIDLength)
	}
	for i := range len(v) {
		if v[i] <= ' ' || v[i] > '~' {
			return fmt.Errorf("%w: byte %d is not printable ASCII", ErrInvalidVersionID, i)
		}
	}
	return nil
}

// Stage says where in its life a version is. At most one version of a secret
// is in each of pending, current and previous.
type Stage string

// The life of a version: pending → current → previous → retired. They are the
// AWSPENDING, AWSCURRENT and AWSPREVIOUS staging labels of AWS Secrets Manager;
// a retired version has no label.
const (
	// StagePending is written and not yet served to anyone.
	StagePending Stage = "pending"
	// StageCurrent is what a reader gets who asks for no version.
	StageCurrent Stage = "current"
	// StagePrevious was current before; it still works.
	StagePrevious Stage = "previous"
	// StageRetired has no label left; its value may be gone.
	StageRetired Stage = "retired"
)

// Version is what a store knows of one version, never its value.
type Version struct {
	// ID is the store's name for it.
	ID VersionID
	// Stage is where in its life it is.
	Stage Stage
	// Token is the rotation token that the version was written under, "" when
	// another program wrote it or the store keeps no token.
	Token Token
	// CreatedAt is when the version was written, by the store's clock.
	CreatedAt time.Time
	// NotAfter is the end of the version's life as the store records it; the
	// zero value means that the store sets no end.
	NotAfter time.Time
	// Empty is true for a version that was registered without a value, as AWS
	// does with AWSPENDING before the first rotation step.
	Empty bool
	// Kept is true for a retired version whose value was kept on purpose, see
	// [RetireKeep].
	Kept bool
}

// Metadata is what a store knows of a secret without reading a value.
type Metadata struct {
	// Path is the store's own name for the secret.
	Path string
	// Incarnation tells the secret from one that was deleted under the same path
	// before; opaque, and "" while the store cannot tell.
	Incarnation string
	// Versions holds every version that the store still lists, in no order.
	Versions []Version
	// Attributes are the store's tags (AWS) or custom metadata (Vault).
	Attributes map[string]string
	// TTL is the lifetime of a version as the store's own rotation rules give
	// it; 0 means that it gives none.
	TTL time.Duration
	// MaxVersions is how many versions the store keeps of the secret; 0 means that it
	// is not limited, or not known.
	MaxVersions int
	// Deleted says what was done to the current version, where it was deleted or
	// destroyed in the store, and what brings it back; "" where it was not.
	Deleted string
}

// Deletion returns an error that wraps [ErrDeleted] if the current version was
// deleted in the store, else nil.
func (m Metadata) Deletion() error {
	if m.Deleted == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDeleted, m.Deleted)
}

// At returns the version in the given stage, and false when there is none.
func (m Metadata) At(stage Stage) (Version, bool) {
	for _, v := range m.Versions {
		if v.Stage == stage {
			return v, true
		}
	}
	return Version{}, false
}

// Version returns the version with the given id, and false when the store does
// not list it.
func (m Metadata) Version(id VersionID) (Version, bool) {
	for _, v := range m.Versions {
		if v.ID == id {
			return v, true
		}
	}
	return Version{}, false
}

// Current returns the version that readers get, and the zero Version when the
// secret has none yet.
func (m Metadata) Current() Version {
	v, _ := m.At(StageCurrent)
	return v
}
