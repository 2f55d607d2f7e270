package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// casTries is how often a change of the state is tried on a fresh one.
const casTries = 8

// change applies do to a secret's state by compare-and-set, at first on what
// was seen of it a moment ago, and again on a fresh view when another writer was
// quicker, or when do refuses or finds done what may be out of date.
func (d *Driver) change(ctx context.Context, path string, do func(*view) (changed bool, err error)) error {
	v, remembered := d.memory.recent(path)
	for range casTries {
		err := ctx.Err() // what is remembered may need no call
		if err != nil {
			return err
		}
		if !remembered {
			if v, err = d.view(ctx, path); err != nil {
				return err
			}
		}
		changed, err := do(&v)
		if remembered && (refusal(err) || err == nil && !changed) {
			remembered = false
			continue
		}
		if err != nil || !changed {
			return err
		}
		err = d.writeState(ctx, path, &v.state)
		if err == nil {
			v.promoted = false // a state that is written has it recorded
			d.memory.saw(path, v)
			return nil
		}
		d.memory.forget(path)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		remembered = false
	}
	return fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

func refusal(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrPending) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTokenReused)
}

// settle writes down that the pending version was promoted, in a state that is
// about to be written, and takes away one that never will be.
func (v *view) settle() {
	if p := v.state.Pending; p != nil && p.From != v.info.current {
		if v.promoted {
			v.state.record(p.From+1, v.record(p.From+1))
		}
		v.state.Pending = nil
	}
	v.state.Incarnation = v.info.created
}

// Put implements [store.Driver].
func (d *Driver) Put(ctx context.Context, path string, w store.Write) (out secret.Version, err error) {
	path = NormalPath(path)
	var mine *pending
	err = d.change(ctx, path, func(v *view) (bool, error) {
		if !v.known() && !w.Create {
			return false, fmt.Errorf("%w: no such secret", store.ErrNotFound)
		}
		done, found, err := d.written(ctx, path, v, w)
		if err != nil || found {
			out, mine = done, v.waiting()
			return false, err
		}
		if cur := v.info.live(); number(w.From) != cur || w.From != "" && number(w.From) == 0 {
			return false, fmt.Errorf("%w: the current version is not %q", store.ErrConflict, w.From)
		}
		if p := v.waiting(); p != nil && p.id() != w.Replace {
			return false, fmt.Errorf("%w: %s", store.ErrPending, p.id())
		}
		v.settle()
		v.state.Pending = &pending{
			Token: w.Token, From: v.info.current, Data: encode(w.Value, d.memory.get(path).plain), CreatedAt: time.Now().UTC(), Lifetime: w.Lifetime, NotAfter: w.NotAfter,
		}
		mine = v.state.Pending
		out = secret.Version{ID: mine.id(), Token: w.Token, Stage: secret.StagePending, CreatedAt: mine.CreatedAt, NotAfter: w.End(mine.CreatedAt)}
		return true, nil
	})
	if err != nil {
		return secret.Version{}, err
	}
	if out.Stage == secret.StagePending {
		d.memory.tell(path, mine.mark())
	}
	return out, nil
}

// written returns the version that was written under w's token, or
// ErrTokenReused when it holds another value.
func (d *Driver) written(ctx context.Context, path string, v *view, w store.Write) (out secret.Version, found bool, err error) {
	for _, had := range v.versions() {
		if had.Token != w.Token {
			continue
		}
		var value secret.Value
		if p := v.state.Pending; p != nil && p.Token == w.Token {
			value, err = p.value()
		} else {
			var got version
			if got, err = d.readVersion(ctx, path, number(had.ID)); err == nil {
				value, _, err = decode(got.data)
			}
		}
		if err != nil && !errors.Is(err, store.ErrNoValue) {
			return secret.Version{}, true, err
		}
		if err != nil || !value.Equal(w.Value) {
			return secret.Version{}, true, fmt.Errorf("%w: %s", store.ErrTokenReused, had.ID)
		}
		return had, true, nil
	}
	return secret.Version{}, false, nil
}

// Retire implements [store.Driver]: a soft delete, a destroy, or a note that
// the value is kept.
func (d *Driver) Retire(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode) error {
	path = NormalPath(path)
	n := number(id)
	var remove bool
	err := d.change(ctx, path, func(v *view) (bool, error) {
		remove = false
		had, exists := v.info.versions[n]
		switch p := v.waiting(); {
		case n != 0 && n == v.info.live():
			return false, fmt.Errorf("%w: %s is current", store.ErrConflict, id)
		case p != nil && p.id() == id:
			v.state.Pending = nil
			return true, nil
		case !exists:
			return false, nil
		}
		settled := v.state.Pending != nil && v.state.Pending.From != v.info.current
		v.settle()
		r := v.state.of(n)
		remove = mode == secret.RetireDestroy || mode != secret.RetireKeep && mode != secret.RetireLater && !had.gone
		if next := r.retired(mode); next != r {
			v.state.Versions = withRecord(v.state.Versions, id, next)
			return true, nil
		}
		return settled, nil
	})
	if err != nil || !remove {
		return err
	}
	how := d.cfg.Mount + "/delete/"
	if mode == secret.RetireDestroy {
		how = d.cfg.Mount + "/destroy/"
	}
	d.memory.forget(path)
	_, err = d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
		return l.WriteWithContext(ctx, how+d.cfg.full(path), map[string]any{"versions": []int{n}})
	})
	return err
}

// retired returns the record of a version after its retirement.
func (r recorded) retired(mode secret.RetireMode) recorded {
	switch mode {
	case secret.RetireLater:
		r.Unstaged = !r.Kept
	case secret.RetireKeep:
		r.Kept, r.Unstaged = true, false
	default:
		r.Kept = false // Unstaged stays, so that it gets no stage back before its value is removed
	}
	return r
}

func withRecord(versions map[string]recorded, id secret.VersionID, r recorded) map[string]recorded {
	out := map[string]recorded{string(id): r}
	for k, v := range versions {
		if k != string(id) {
			out[k] = v
		}
	}
	return out
}
