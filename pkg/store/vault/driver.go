package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Driver is a [store.Driver] for one mount of the KV version 2 engine.
type Driver struct {
	*store.Clock
	cfg     Config
	session *session
	memory  memory
	mount   mountLimit
}

var _ store.Driver = (*Driver)(nil)

// Open returns a driver. It makes no call, so that a store that cannot be
// reached does not keep a process from starting; the error says what is wrong
// with the configuration.
func Open(cfg Config) (*Driver, error) {
	cfg = cfg.withDefaults()
	clock := new(store.Clock)
	c, err := cfg.client(clock)
	if err != nil {
		return nil, err
	}
	return &Driver{Clock: clock, cfg: cfg, session: newSession(cfg.Auth, c), memory: memory{secrets: map[string]remembered{}}}, nil
}

// Close implements [store.Driver]. Tokens end by themselves.
func (*Driver) Close() error { return nil }

// info is the metadata of a secret as the engine has it; the zero value means
// that there is none.
type info struct {
	created    string
	current    int
	versions   map[int]version
	attributes map[string]string
	ttl        time.Duration
	keeps      int // versions, 0 for as many as the mount says
	oldest     int // version that was not dropped yet
}

func (i info) exists() bool { return i.created != "" }

// live returns the number of the current version, 0 when there is none.
func (i info) live() int {
	if v, ok := i.versions[i.current]; ok && !v.gone {
		return i.current
	}
	return 0
}

// readInfo reads the metadata of a secret; one that is not there is the zero
// value.
func (d *Driver) readInfo(ctx context.Context, path string) (info, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) { return l.ReadWithContext(ctx, d.cfg.metadata(path)) })
	if errors.Is(err, store.ErrNotFound) || err == nil && got == nil {
		return info{}, nil
	}
	if err != nil {
		return info{}, err
	}
	i := info{current: asInt(got.Data["current_version"]), versions: map[int]version{}}
	i.created, _ = got.Data["created_time"].(string)
	versions, _ := got.Data["versions"].(map[string]any)
	for id, raw := range versions {
		n, err := strconv.Atoi(id)
		fields, ok := raw.(map[string]any)
		if err != nil || !ok {
			continue
		}
		v := version{number: n, created: asTime(fields["created_time"])}
		v.end(fields)
		i.versions[n] = v
	}
	custom, _ := got.Data["custom_metadata"].(map[string]any)
	for k, v := range custom {
		if text, ok := v.(string); ok {
			if i.attributes == nil {
				i.attributes = map[string]string{}
			}
			i.attributes[k] = text
		}
	}
	i.keeps, i.oldest = asInt(got.Data["max_versions"]), asInt(got.Data["oldest_version"])
	if after, ok := got.Data["delete_version_after"].(string); ok {
		i.ttl, _ = time.ParseDuration(after) // what cannot be read says nothing
	}
	return i, nil
}

// view is a secret at one moment: what the engine and the state say together.
type view struct {
	info  info
	state state
	// promoted: the pending version of the state is the current one.
	promoted bool
}

// view reads a secret: two calls, and a third when the current version may or
// may not be the one that was pending.
func (d *Driver) view(ctx context.Context, path string) (view, error) {
	i, err := d.readInfo(ctx, path)
	if err != nil {
		return view{}, err
	}
	s, err := d.readState(ctx, path)
	if err != nil {
		return view{}, err
	}
	if s.Incarnation != "" && s.Incarnation != i.created {
		s = state{revision: s.revision}
	}
	v := view{info: i, state: s}
	if p := s.Pending; p != nil && i.exists() && i.current == p.From+1 {
		if v.promoted, err = d.isOurs(ctx, path, i, p); err != nil {
			return view{}, err
		}
	}
	d.memory.saw(path, v)
	return v, nil
}

// isOurs reports whether the current version is what p was.
func (d *Driver) isOurs(ctx context.Context, path string, i info, p *pending) (bool, error) {
	if ours, known := d.memory.origin(path, i, p.Token); known {
		return ours, nil
	}
	got, err := d.readVersion(ctx, path, i.current)
	if errors.Is(err, store.ErrNoValue) || errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	have, _, err := decode(got.data)
	if err != nil {
		return false, err
	}
	want, err := p.value()
	if err != nil {
		return false, err
	}
	ours := have.Equal(want)
	d.memory.learn(path, i, p.Token, ours)
	return ours, nil
}

// waiting returns the pending version if it can still be promoted.
func (v *view) waiting() *pending {
	if p := v.state.Pending; p != nil && p.From == v.info.current {
		return p
	}
	return nil
}

// record returns what is known of a version besides what the engine says.
func (v *view) record(n int) recorded {
	if p := v.state.Pending; v.promoted && n == p.From+1 {
		return recorded{Token: p.Token, Lifetime: p.Lifetime, NotAfter: p.NotAfter}
	}
	return v.state.of(n)
}

// versions returns the versions in the order of their numbers.
func (v *view) versions() []secret.Version {
	var out []secret.Version
	for n, had := range v.info.versions {
		r := v.record(n)
		out = append(out, secret.Version{
			ID: versionID(n), Token: r.Token, CreatedAt: had.created, NotAfter: had.notAfter(r.end(had.created)),
			Stage: v.stage(n), Empty: had.gone, Kept: r.Kept,
		})
	}
	if p := v.waiting(); p != nil {
		end := recorded{Lifetime: p.Lifetime, NotAfter: p.NotAfter}.end(p.CreatedAt) // until the engine has a time for it
		out = append(out, secret.Version{ID: p.id(), Token: p.Token, Stage: secret.StagePending, CreatedAt: p.CreatedAt, NotAfter: end})
	}
	slices.SortFunc(out, func(a, b secret.Version) int { return number(a.ID) - number(b.ID) })
	return out
}

func (v *view) stage(n int) secret.Stage {
	live := v.info.live()
	switch {
	case n == live:
		return secret.StageCurrent
	case live != 0 && n == live-1 && !v.info.versions[n].gone && !v.record(n).Kept && !v.record(n).Unstaged:
		return secret.StagePrevious
	default:
		return secret.StageRetired
	}
}

func (v *view) known() bool { return v.info.exists() || v.waiting() != nil }

func (v *view) metadata(path string) secret.Metadata {
	return secret.Metadata{Path: path, Incarnation: v.info.created, Versions: v.versions(), Attributes: v.info.attributes, TTL: v.info.ttl, Deleted: v.deleted()}
}

// deleted says how the current version was taken away, "" where it was not.
func (v *view) deleted() string {
	cur, ok := v.info.versions[v.info.current]
	switch {
	case !ok || !cur.gone:
		return ""
	case cur.destroyed:
		return fmt.Sprintf("version %d was destroyed in the store; write a new version there", cur.number)
	default:
		return fmt.Sprintf("version %d was deleted in the store; vault kv undelete -versions=%d brings it back, or write a new version there", cur.number, cur.number)
	}
}

// Describe implements [store.Driver].
func (d *Driver) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	path = NormalPath(path)
	v, err := d.view(ctx, path)
	if err != nil {
		return secret.Metadata{}, err
	}
	if !v.known() {
		return secret.Metadata{}, d.missing(ctx, fmt.Errorf("%w: no such secret", store.ErrNotFound))
	}
	d.memory.tellFirst(path, &v)
	m := v.metadata(path)
	m.MaxVersions = d.keeps(v.info)
	return m, nil
}

// Get implements [store.Driver]. The current version is one call that needs no
// permission but that of reading the secret.
func (d *Driver) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	path = NormalPath(path)
	if sel.Version == "" && (sel.Stage == "" || sel.Stage == secret.StageCurrent) {
		return d.current(ctx, path)
	}
	v, err := d.view(ctx, path)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	found, err := sel.Find(v.metadata(path))
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	if found.Stage == secret.StagePending {
		d.memory.tellFirst(path, &v)
		value, err := v.state.Pending.value()
		return found, value, err
	}
	if found.Empty {
		return found, secret.Value{}, fmt.Errorf("%w: %s", store.ErrNoValue, found.ID)
	}
	got, err := d.readVersion(ctx, path, number(found.ID))
	if err != nil {
		return found, secret.Value{}, err
	}
	value, _, err := decode(got.data)
	return found, value, err
}

func (d *Driver) current(ctx context.Context, path string) (secret.Version, secret.Value, error) {
	got, err := d.readVersion(ctx, path, 0)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	value, plain, err := decode(got.data)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	d.memory.shaped(path, plain)
	return secret.Version{ID: versionID(got.number), Stage: secret.StageCurrent, CreatedAt: got.created, NotAfter: got.ends}, value, nil
}

// readVersion reads one version; 0 is the newest.
func (d *Driver) readVersion(ctx context.Context, path string, n int) (version, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
		return l.ReadWithDataWithContext(ctx, d.cfg.data(path), map[string][]string{"version": {strconv.Itoa(n)}})
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && got == nil {
		return version{}, d.missing(ctx, fmt.Errorf("%w: no such version", store.ErrNotFound))
	}
	if err != nil {
		return version{}, err
	}
	v, err := parseVersion(got)
	if err == nil && (v.gone || v.data == nil) {
		err = fmt.Errorf("%w: %d", store.ErrNoValue, v.number)
	}
	return v, d.explain(ctx, err)
}

// memory is what a Driver has learnt. What is in it either cannot change or is
// used only where the server checks it again.
type memory struct {
	mu      sync.Mutex
	secrets map[string]remembered
	mount   time.Time // when it was found to be a KV version 2 engine, zero for not yet
}

type remembered struct {
	view view
	at   time.Time
	// origins: whether the version that is current in an incarnation was
	// written under a token.
	origin origin
	ours   bool
	plain  bool // the value stands under keyText or keyBase64
	// told is the pending version that a caller of the Driver knows of.
	told mark
}

type origin struct {
	incarnation string
	number      int
	token       secret.Token
}

// fresh is how long a view may stand in for reading again; it spans the steps
// of one rotation.
const fresh = 30 * time.Second

func (m *memory) edit(path string, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.secrets[path]
	change(&r)
	m.secrets[path] = r
}

func (m *memory) get(path string) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.secrets[path]
}

func (m *memory) saw(path string, v view) {
	m.edit(path, func(r *remembered) { r.view, r.at = v, time.Now() })
}

func (m *memory) forget(path string) { m.edit(path, func(r *remembered) { r.at = time.Time{} }) }

func (m *memory) recent(path string) (view, bool) {
	r := m.get(path)
	return r.view, !r.at.IsZero() && time.Since(r.at) < fresh
}

// tell notes which pending version a caller was told of; the zero mark forgets it.
func (m *memory) tell(path string, p mark) { m.edit(path, func(r *remembered) { r.told = p }) }

// tellFirst notes it unless a caller knows of a pending version with the same number:
// another caller may act on that one still.
func (m *memory) tellFirst(path string, v *view) {
	p := v.waiting()
	if p == nil {
		return
	}
	m.edit(path, func(r *remembered) {
		if r.told.token == "" || r.told.from != p.From {
			r.told = p.mark()
		}
	})
}

func (m *memory) shaped(path string, plain bool) {
	m.edit(path, func(r *remembered) { r.plain = plain })
}

func (m *memory) origin(path string, i info, t secret.Token) (ours, known bool) {
	r := m.get(path)
	return r.ours, r.origin == origin{i.created, i.current, t}
}

func (m *memory) learn(path string, i info, t secret.Token, ours bool) {
	m.edit(path, func(r *remembered) { r.origin, r.ours = origin{i.created, i.current, t}, ours })
}
