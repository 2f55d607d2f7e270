package natskv

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// DefaultBucket is [Config.Bucket] unless a configuration says otherwise.
const DefaultBucket = "secrets"

// casTries bounds how often a change is made again on a fresh document.
const casTries = 16

// Config says where the bucket is and what seals it. JS and MasterKey are
// required.
type Config struct {
	JS jetstream.JetStream
	// Bucket is the name of the key-value bucket. "" means DefaultBucket.
	Bucket string
	// Replicas is how many servers hold it. 0 means 1.
	Replicas int
	// MasterKey seals the keyset: 32 random bytes, see LoadMasterKey.
	MasterKey []byte
	// Reread, if set, returns the master key as it is now. It is asked when the one
	// in hand does not open the keyset, so that a process that runs outlives a
	// change of it.
	Reread func() ([]byte, error)
	// Next, if set, returns the key of a change that may be in progress, which opens
	// the keyset when the master key does not any more.
	Next func() ([]byte, error)
	// Existing opens a bucket that another process has made, and makes nothing.
	Existing bool
	// Direct lets any server of a cluster answer a read that does not ask for the
	// primary, also a server that lags behind. It is for a service, which only
	// reads. A read from the leader needs the right to
	// $JS.API.STREAM.MSG.GET.KV_<bucket>.
	Direct bool
}

// Driver is the embedded store.
type Driver struct {
	cfg    Config
	stream jetstream.Stream
	leader nats.JetStreamContext // see lead
	keys   *keyring
	settle time.Duration // see RotateKeyset
	clock  clock
}

var _ store.Driver = (*Driver)(nil)

// Open opens the bucket, and makes it and its keyset on first use. It fails
// when the master key does not open the keyset.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	cfg.Bucket, cfg.Replicas = cmp.Or(cfg.Bucket, DefaultBucket), cmp.Or(cfg.Replicas, 1)
	s, err := cfg.bucket(ctx)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, classify(err))
	}
	d := &Driver{cfg: cfg, stream: s, settle: settleTime}
	if d.leader, err = lead(cfg.JS); err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	if d.keys, err = openKeyring(ctx, d, cfg.MasterKey); err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	return d, nil
}

func (c Config) bucket(ctx context.Context) (jetstream.Stream, error) {
	if c.Existing {
		return c.JS.Stream(ctx, "KV_"+c.Bucket)
	}
	return c.JS.CreateOrUpdateStream(ctx, c.streamConfig())
}

// streamConfig is what the key-value interface of the client library makes.
func (c Config) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + c.Bucket, Description: "sealed secrets", Subjects: []string{"$KV." + c.Bucket + ".>"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: c.Replicas,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
}

func (d *Driver) subject(key string) string { return "$KV." + d.cfg.Bucket + "." + key }
func docKey(path string) string             { return "s." + string(secret.ID(path).Key()) }

// valueKey is the key of a sealed value.
func valueKey(path string, v secret.VersionID, ref string) string {
	return "v." + string(secret.ID(path).Key()) + "." + string(secret.ID(v).Key()) + "." + ref
}

// read returns the document of a secret; with [store.ErrNotFound] an empty one
// that may be written in its place.
func (d *Driver) read(ctx context.Context, path string) (document, error) {
	return d.readWith(ctx, path, d.last)
}

// readWith is read through one of [Driver.last] and [Driver.peek].
func (d *Driver) readWith(ctx context.Context, path string, get lookup) (document, error) {
	m, err := get(ctx, docKey(path))
	if errors.Is(err, store.ErrNotFound) {
		doc := document{Path: path}
		if m != nil {
			doc.revision = m.Sequence
		}
		return doc, err
	}
	if err != nil {
		return document{}, err
	}
	return parse(m.Data, m.Sequence)
}

func parse(data []byte, revision uint64) (document, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, fmt.Errorf("%w: the document does not decode", store.ErrInvalid)
	}
	doc.revision = revision
	return doc, nil
}

// kvOperation marks a message of a bucket that is no value but a deletion.
const kvOperation = "KV-Operation"

// change applies do to the document of a secret by compare-and-set, again on a
// fresh one when another writer was quicker.
func (d *Driver) change(ctx context.Context, path string, create bool, do func(*document) (changed bool, err error)) error {
	for try := range casTries {
		pause(ctx, try)
		doc, err := d.read(ctx, path)
		if errors.Is(err, store.ErrNotFound) && create {
			err = nil
		}
		if err != nil {
			return err
		}
		if changed, err := do(&doc); err != nil || !changed {
			return err
		}
		if err = d.write(ctx, doc); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

func (d *Driver) write(ctx context.Context, doc document) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = d.cfg.JS.Publish(ctx, d.subject(docKey(doc.Path)), body, jetstream.WithExpectLastSequencePerSubject(doc.revision))
	return classify(err)
}

// Describe implements [store.Driver].
func (d *Driver) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	doc, err := d.readWith(ctx, path, d.peek)
	if err != nil {
		return secret.Metadata{}, err
	}
	return doc.metadata(), nil
}

// List implements [store.Driver]: one ordered pass over the documents. The server
// that answers it may lag behind: what is listed is a hint, and what has to be
// done about a secret is decided after [Driver.Describe].
func (d *Driver) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		if err := d.list(ctx, func(m secret.Metadata) bool { return yield(m, nil) }); err != nil {
			yield(secret.Metadata{}, err)
		}
	}
}

func (d *Driver) list(ctx context.Context, yield func(secret.Metadata) bool) error {
	return d.scan(ctx, "s.*", func(m jetstream.Msg) (bool, error) {
		doc, err := parse(m.Data(), 0)
		if err != nil {
			return false, err
		}
		return yield(doc.metadata()), nil
	})
}

// scanPause is how long the next message of a scan is waited for before it is
// asked for again.
const scanPause = time.Second

// scan calls fn with the message of every key that fits the pattern, until it
// returns false.
func (d *Driver) scan(ctx context.Context, pattern string, fn func(jetstream.Msg) (bool, error)) error {
	c, err := d.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{d.subject(pattern)}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return classify(err)
	}
	if info := c.CachedInfo(); info != nil && info.NumPending == 0 {
		return nil
	}
	msgs, err := c.Messages()
	if err != nil {
		return classify(err)
	}
	defer msgs.Stop()
	stop := context.AfterFunc(ctx, msgs.Stop)
	defer stop()
	for {
		// Of a long list it may forget to request the rest while it is still sending
		// the request before. Asked again, it does.
		m, err := msgs.Next(jetstream.NextMaxWait(scanPause))
		if errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return classify(errors.Join(ctx.Err(), err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if m.Headers().Get(kvOperation) == "" {
			if more, err := fn(m); err != nil || !more {
				return err
			}
		}
		if meta.NumPending == 0 {
			return nil
		}
	}
}

// Get implements [store.Driver].
func (d *Driver) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	get := d.peek
	if sel.Primary {
		get = d.last
	}
	doc, err := d.readWith(ctx, path, get)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	v, err := sel.Find(doc.metadata())
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	value, err := d.value(ctx, path, v.ID, doc.ref(v.ID), get)
	return v, value, err
}

func (d *Driver) value(ctx context.Context, path string, v secret.VersionID, ref string, get lookup) (secret.Value, error) {
	m, err := get(ctx, valueKey(path, v, ref))
	if errors.Is(err, store.ErrNotFound) {
		return secret.Value{}, fmt.Errorf("%w: %s", store.ErrNoValue, v)
	}
	if err != nil {
		return secret.Value{}, err
	}
	return d.keys.open(ctx, m.Data, d.bound(path, v, ref))
}

// bound returns the associated data of a sealed value.
func (d *Driver) bound(path string, v secret.VersionID, ref string) []byte {
	return []byte("rotator/natskv/v2|" + d.cfg.Bucket + "|" + string(secret.ID(path).Key()) + "|" + string(v) + "|" + ref)
}

// Put implements [store.Driver]: the sealed value under a key of its own,
// then the document that refers to it. A value is stored after the document was
// read whose successor refers to it: see orphans. A writer that dies in between
// leaves a value that nothing refers to, which the next retirement removes.
func (d *Driver) Put(ctx context.Context, path string, w store.Write) (v secret.Version, err error) {
	var ref, stored string // of our value, and its key, once it is stored
	var lost bool          // another writer's document is in place
	nonce := rand.Text()
	var surplus []secret.VersionID
	now, err := d.now(ctx)
	if err != nil {
		return secret.Version{}, err
	}
	err = d.change(ctx, path, w.Create, func(doc *document) (bool, error) {
		if len(doc.Versions) == 0 && doc.Incarnation == "" {
			doc.Incarnation = nonce
		}
		life := store.Document{Versions: doc.versions(), Incarnation: doc.Incarnation}
		made, fresh, err := life.Put(w, now)
		lost = err != nil || !fresh && doc.ref(made.ID) != ref
		if err != nil {
			return false, err
		}
		v, surplus = made, life.Surplus()
		if !fresh {
			return false, d.same(ctx, path, doc.ref(made.ID), made, w.Value)
		}
		if stored != "" { // before this document was read
			if err := d.purge(ctx, stored); err != nil {
				return false, err
			}
		}
		if ref, err = d.keep(ctx, path, made.ID, w.Value); err != nil {
			return false, err
		}
		stored = valueKey(path, made.ID, ref)
		doc.put(life.Versions, ref)
		return true, nil
	})
	if stored != "" && (lost || errors.Is(err, store.ErrNotFound)) { // not found: it was deleted meanwhile
		err = errors.Join(err, d.purge(ctx, stored))
	}
	for _, old := range surplus {
		if err == nil { // or the same put again takes them away
			err = d.Retire(ctx, path, old, secret.RetireDelete)
		}
	}
	if err != nil {
		return secret.Version{}, err
	}
	return v, nil
}

// keep stores a sealed value and returns its reference. A document may refer to
// it only if the key that sealed it was still primary after it was stored:
// [Driver.RotateKeyset] seals those values anew before it removes the key, and
// may miss any other. See ADR 23.
func (d *Driver) keep(ctx context.Context, path string, v secret.VersionID, value secret.Value) (string, error) {
	ref := rand.Text()
	key := valueKey(path, v, ref)
	for range casTries {
		sealed, err := d.keys.seal(value, d.bound(path, v, ref))
		if err != nil {
			return "", err
		}
		if _, err = d.cfg.JS.Publish(ctx, d.subject(key), sealed); err != nil {
			return "", classify(err)
		}
		if err := d.keys.load(ctx, d.last); err != nil {
			return "", errors.Join(err, d.purge(ctx, key))
		}
		if primary, err := d.keys.sealedByPrimary(sealed); primary || err != nil {
			return ref, err
		}
	}
	return "", errors.Join(fmt.Errorf("%w: the keyset has changed %d times in a row", store.ErrConflict, casTries), d.purge(ctx, key))
}

// purge removes a value.
func (d *Driver) purge(ctx context.Context, key string) error {
	return classify(d.stream.Purge(ctx, jetstream.WithPurgeSubject(d.subject(key))))
}

// same returns an error unless the version holds the value.
func (d *Driver) same(ctx context.Context, path, ref string, v secret.Version, want secret.Value) error {
	have, err := d.value(ctx, path, v.ID, ref, d.last)
	if err != nil && !errors.Is(err, store.ErrNoValue) {
		return err
	}
	if err != nil || !have.Equal(want) {
		return fmt.Errorf("%w: %s", store.ErrTokenReused, v.Token)
	}
	return nil
}

// Promote implements [store.Driver].
func (d *Driver) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	return d.change(ctx, path, false, func(doc *document) (bool, error) {
		life := store.Document{Versions: doc.versions()}
		changed, err := life.Promote(from, to)
		doc.set(life.Versions)
		return changed, err
	})
}

// Close implements [store.Driver]. The connection stays its owner's.
func (d *Driver) Close() error { return nil }

// classify puts the sentinel of this project on an error of the bus.
func classify(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, nats.ErrMsgNotFound),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("%w: %w", store.ErrAccessDenied, err)
	case errors.As(err, &api) && wrongSequence(api.ErrorCode):
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	case strings.Contains(err.Error(), "maximum payload"):
		return fmt.Errorf("%w: %w", store.ErrInvalid, err)
	default:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
}

func wrongSequence(c jetstream.ErrorCode) bool {
	return c == jetstream.JSErrCodeStreamWrongLastSequence || c == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}
