package events

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// ReadsKept is how long a [Sighting] is kept after the last read.
	ReadsKept = 90 * 24 * time.Hour
	// MaxReaders is how many identities are kept per secret. That there are further
	// ones is kept too, see [Reads].
	MaxReaders = 64
	// maxReads bounds the stream of sightings.
	maxReads = 1_000_000
	// maxIdentity and maxAddress bound texts of a sighting, in bytes.
	maxIdentity = 512
	maxAddress  = 128
)

// Sighting says that an identity has read the value of a secret, by the log of its
// store. It is a hint: on the way of these logs there are queues and sockets on
// to which every program that reaches them can write. So it can make an answer about a secret
// unknown, and nothing else.
type Sighting struct {
	SecretID secret.ID `json:"secret_id"`
	Store    string    `json:"store"`
	// Identity is the reader, in the form in which a configuration names it: of AWS
	// the ARN of a role without its path, or of a user; of Vault the display name and
	// the role.
	Identity string `json:"identity"`
	// Entity is another name of the same reader, "" for none.
	Entity string `json:"entity,omitempty"`
	// Address is where the read came from, as the store says.
	Address string `json:"address,omitempty"`
	// VersionID is the version that was read, "" where the log does not say; Stage is
	// the stage by which it was asked for, in the word of the store.
	VersionID secret.VersionID `json:"version_id,omitempty"`
	Stage     string           `json:"stage,omitempty"`
	// At is when it was read, by the clock of the store. StoredAt is when the server
	// stored the record, and is set in what [Bus.Reads] returns.
	At       time.Time `json:"at"`
	StoredAt time.Time `json:"-"`
}

// ReadSource says since when all reads of the secrets of a store were heard of by
// one listener.
type ReadSource struct {
	Store string `json:"store"`
	// Name tells the listeners of a store apart.
	Name string `json:"name"`
	// Since is the time after which nothing was missed.
	Since time.Time `json:"since"`
	// Heard is when the store last logged anything, zero for never.
	Heard time.Time `json:"heard,omitzero"`
	// At is when the listener last said so.
	At time.Time `json:"at"`
}

// Reads is what was seen of the readers of one secret.
type Reads struct {
	Sightings []Sighting
	// More is when an identity beyond MaxReaders was last seen, zero for never.
	More time.Time
	// Sources are the listeners of all stores.
	Sources []ReadSource
	// Own are the identities with which our own programs read.
	Own []OwnReader
}

// OwnReader is an identity with which a program of ours reads a store.
type OwnReader struct {
	Store    string `json:"store"`
	Identity string `json:"identity"`
}

// ReadersStream keeps the last read of every identity and secret.
func (n Names) ReadersStream() string { return n.stream("READERS") }

// Reader is the subject of the [Sighting] of an identity.
func (n Names) Reader(k secret.Key, identity string) string {
	return n.reader(k, readerDigest(identity))
}

// MoreReaders is the subject of what found no place among the readers of a secret.
func (n Names) MoreReaders(k secret.Key) string { return n.reader(k, "_more") }

// ReadSource is the subject of a listener, see [ReadSource].
func (n Names) ReadSource(store, name string) string {
	return n.prefix + "reader._source." + store + "." + name
}

// OwnReader is the subject of an identity of our own programs.
func (n Names) OwnReader(store, identity string) string {
	return n.prefix + "reader._own." + store + "." + readerDigest(identity)
}

// readerDigest makes a token of an identity.
func readerDigest(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return hex.EncodeToString(sum[:12])
}

func (n Names) reader(k secret.Key, last string) string {
	return n.prefix + "reader." + string(k) + "." + last
}

func (n Names) ownReaders() string { return n.prefix + "reader._own.*.*" }

// ReaderIdentity returns the form of the ARN of an identity in which readers are compared:
// the ARN of a role without its path, also for a session of the role. Names of roles
// are unique in an account, and the ARN of a session has no path. Anything but an ARN
// stays as it is.
func ReaderIdentity(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return arn
	}
	kind, rest, _ := strings.Cut(parts[5], "/")
	switch {
	case parts[2] == "sts" && kind == "assumed-role":
		rest, _, _ = strings.Cut(rest, "/")
	case parts[2] == "iam" && kind == "role":
		rest = rest[strings.LastIndex(rest, "/")+1:]
	default:
		return arn
	}
	return strings.Join([]string{"arn", parts[1], "iam", "", parts[4], "role/" + rest}, ":")
}

// readersConfig is the stream of sightings. At its bound it refuses new ones, and no
// publisher removes the record of another.
func (n Names) readersConfig(storage jetstream.StorageType, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: n.ReadersStream(), Description: "which identities read which secret, by the logs of the stores",
		Subjects:  []string{n.reader("*", "*"), n.ReadSource("*", "*"), n.ownReaders()},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: storage, Replicas: replicas,
		MaxMsgsPerSubject: 1, MaxMsgs: maxReads, MaxAge: ReadsKept, MaxMsgSize: MaxRecordSize + maxRecordHeaders, AllowDirect: true,
	}
}

func (s Sighting) validate() error {
	switch {
	case s.Identity == "" || len(s.Identity) > maxIdentity || len(s.Entity) > maxIdentity || len(s.Address) > maxAddress || len(s.Stage) > maxIdentity:
		return errors.New("the identity is missing, or a text of the sighting is too long")
	case !printable(s.Identity + s.Entity + s.Address + s.Stage):
		return errors.New("a text of the sighting is not printable")
	case s.VersionID != "" && s.VersionID.Validate() != nil:
		return errors.New("the version ID is malformed")
	}
	return errors.Join(s.SecretID.Validate(), ValidToken(s.Store))
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// RecordRead stores a sighting in place of the last one of the identity. If the
// secret has MaxReaders others already, it stores that there are more.
func (b *Bus) RecordRead(ctx context.Context, s Sighting) error {
	if err := s.validate(); err != nil {
		return fmt.Errorf("record a read of %s: %w", s.SecretID, err)
	}
	subject, err := b.readerPlace(ctx, s)
	if err == nil {
		err = b.putStanding(ctx, subject, s)
	}
	return wrap("record a read of "+string(s.SecretID), err)
}

// readerPlace returns the subject that a sighting is stored on.
func (b *Bus) readerPlace(ctx context.Context, s Sighting) (string, error) {
	n, key := b.cfg.Names, s.SecretID.Key()
	own := n.Reader(key, s.Identity)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	handle, err := b.stream(ctx, n.ReadersStream())
	if err != nil {
		return "", err
	}
	info, err := handle.Info(ctx, jetstream.WithSubjectFilter(n.reader(key, "*")))
	if err != nil {
		return "", err
	}
	if _, known := info.State.Subjects[own]; known || len(info.State.Subjects) < MaxReaders {
		return own, nil
	}
	return n.MoreReaders(key), nil
}

// RecordSource stores what a listener says in place of the record with the sequence
// after, 0 for none, and returns the sequence of the new one. The error wraps
// [ErrConflict] when that is not the last record of the listener: it was purged, or
// lost with the sightings.
func (b *Bus) RecordSource(ctx context.Context, s ReadSource, after uint64) (seq uint64, err error) {
	const op = "record a source of reads"
	if err := errors.Join(ValidToken(s.Store), ValidToken(s.Name)); err != nil {
		return 0, wrap(op, err)
	}
	body, err := json.Marshal(s)
	if err != nil {
		return 0, wrap(op, err)
	}
	subject := b.cfg.Names.ReadSource(s.Store, s.Name)
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body}, jetstream.WithExpectLastSequencePerSubject(after))
	if err != nil {
		return 0, wrap(op, conflict(err))
	}
	return ack.Sequence, nil
}

// Source returns what a listener last said and the sequence of it, zero for nothing.
func (b *Bus) Source(ctx context.Context, store, name string) (s ReadSource, seq uint64, err error) {
	m, err := b.stored(ctx, b.cfg.Names.ReadersStream(), b.cfg.Names.ReadSource(store, name))
	if err != nil || m == nil {
		return s, 0, wrap("read a source of reads", err)
	}
	s, _ = decodeSource(m.Data)
	return s, m.Sequence, nil
}

// RecordOwnReader stores an identity with which a program of ours reads.
func (b *Bus) RecordOwnReader(ctx context.Context, o OwnReader) error {
	o.Identity = ReaderIdentity(o.Identity)
	err := ValidToken(o.Store)
	if err == nil && (o.Identity == "" || len(o.Identity) > maxIdentity) {
		err = errors.New("the identity is missing or too long")
	}
	if err == nil {
		err = b.putStanding(ctx, b.cfg.Names.OwnReader(o.Store, o.Identity), o)
	}
	return wrap("record the identity of this program", err)
}

// Reads returns what was seen of the readers of a secret. A record that is not
// understood is a reader without a name: it hides none.
func (b *Bus) Reads(ctx context.Context, id secret.ID) (Reads, error) {
	n := b.cfg.Names
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := b.lastOf(ctx, n.ReadersStream(), []string{n.reader(id.Key(), "*"), n.ReadSource("*", "*"), n.ownReaders()})
	switch {
	case err == nil && a.broken:
		err = fmt.Errorf("%w: the headers of a record are broken", ErrIncomplete)
	case err == nil && a.pending > 0:
		err = fmt.Errorf("%w: %d records did not fit", ErrIncomplete, a.pending)
	}
	if err != nil {
		return Reads{}, wrap("read the readers of "+string(id), err)
	}
	return n.readsOf(id, a.records), nil
}

func (n Names) readsOf(id secret.ID, records []record) (out Reads) {
	for _, r := range records {
		switch {
		case r.subject == n.MoreReaders(id.Key()):
			out.More = r.at
		case strings.HasPrefix(r.subject, n.reader(id.Key(), "")):
			out.Sightings = append(out.Sightings, decodeSighting(id, r))
		case strings.HasPrefix(r.subject, n.prefix+"reader._own."):
			var o OwnReader
			if json.Unmarshal(r.body, &o) == nil && r.subject == n.OwnReader(o.Store, o.Identity) {
				out.Own = append(out.Own, o)
			}
		default:
			if s, ok := decodeSource(r.body); ok {
				out.Sources = append(out.Sources, s)
			}
		}
	}
	return out
}

// ReadSecrets returns the secrets of which readers were seen, in order.
func (b *Bus) ReadSecrets(ctx context.Context) ([]secret.ID, error) {
	n := b.cfg.Names
	handle, err := b.stream(ctx, n.ReadersStream())
	if err != nil {
		return nil, wrap("list the secrets that are read", err)
	}
	info, err := handle.Info(ctx, jetstream.WithSubjectFilter(n.reader("*", "*")))
	if err != nil {
		return nil, wrap("list the secrets that are read", err)
	}
	seen := map[secret.ID]struct{}{}
	for subject := range info.State.Subjects {
		key, _, _ := strings.Cut(strings.TrimPrefix(subject, n.prefix+"reader."), ".")
		if id, err := secret.IDFromKey(secret.Key(key)); err == nil {
			seen[id] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

func decodeSighting(id secret.ID, r record) Sighting {
	var s Sighting
	if json.Unmarshal(r.body, &s) != nil || s.validate() != nil || s.SecretID != id {
		s = Sighting{SecretID: id, Identity: "an identity that is not understood", At: r.at}
	}
	if s.StoredAt = r.at; s.At.IsZero() || s.At.After(r.at) {
		s.At = r.at
	}
	return s
}

func decodeSource(body []byte) (ReadSource, bool) {
	var s ReadSource
	err := json.Unmarshal(body, &s)
	return s, err == nil && errors.Join(ValidToken(s.Store), ValidToken(s.Name)) == nil
}
