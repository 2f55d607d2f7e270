package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// mark tells pending versions apart. Their number does not: one that is put in the
// place of another has the same.
type mark struct {
	from    int
	token   secret.Token
	created int64 // in ns
}

func (p *pending) mark() mark { return mark{p.From, p.Token, p.CreatedAt.UnixNano()} }

// Promote implements [store.Driver]: one write that the engine refuses unless
// the version that the pending one was made for is still the newest. What is pending
// the engine does not know, so the state is read right before the write and after it.
func (d *Driver) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	path = NormalPath(path)
	told := d.memory.get(path).told
	v, remembered := d.memory.recent(path)
	for range casTries {
		var err error
		if v, err = d.renew(ctx, path, v, remembered); err != nil {
			return err
		}
		done, err := v.mayPromote(from, to, told)
		if (done || err != nil) && remembered {
			remembered = false
			continue
		}
		if done || err != nil {
			d.memory.tell(path, mark{}) // a caller that is refused reads again
			return err
		}
		p := v.state.Pending
		d.memory.forget(path)
		_, err = d.writeData(ctx, d.cfg.data(path), p.Data, p.From)
		if err == nil {
			d.memory.tell(path, mark{})
			return d.promoted(ctx, path, v.info, p)
		}
		if !errors.Is(err, store.ErrConflict) {
			return p.scrub(err)
		}
		remembered = false
	}
	return fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

// renew returns a view whose state was read now. Metadata that is remembered will do:
// the engine checks again which version is current.
func (d *Driver) renew(ctx context.Context, path string, v view, remembered bool) (view, error) {
	if !remembered {
		return d.view(ctx, path)
	}
	s, err := d.readState(ctx, path)
	if err != nil {
		return view{}, err
	}
	if s.Incarnation != "" && s.Incarnation != v.info.created {
		return d.view(ctx, path)
	}
	return view{info: v.info, state: s}, nil
}

// promoted notes what a promotion has done, and returns an error if the pending version
// was withdrawn or replaced at the same moment. Of a secret's first version it is
// written down at once: after the secret is deleted, what is pending for version
// 1 must not look as if it still were.
func (d *Driver) promoted(ctx context.Context, path string, i info, p *pending) error {
	if p.From > 0 {
		i.current = p.From + 1
		d.memory.learn(path, i, p.Token, true)
		s, err := d.readState(ctx, path)
		if err != nil {
			return err
		}
		return s.has(p)
	}
	return d.change(ctx, path, func(v *view) (bool, error) {
		if err := v.state.has(p); err != nil {
			return false, err
		}
		had := v.state.Pending != nil && v.promoted
		v.settle()
		return had, nil
	})
}

// has returns an error unless p is pending in the state, or recorded as the version
// that it has become. It is no [store.ErrConflict]: a caller would read again and say
// nothing.
func (s *state) has(p *pending) error {
	if s.Pending != nil && s.Pending.mark() == p.mark() || s.of(p.From+1).Token == p.Token {
		return nil
	}
	return fmt.Errorf("version %s has become current although another writer withdrew or replaced it at the same moment; rotate the secret again", p.id())
}

// mayPromote reports whether to is current already, and if not, why it must
// not become current. told is the pending version that the caller knows of.
func (v *view) mayPromote(from, to secret.VersionID, told mark) (done bool, err error) {
	cur, n := v.info.live(), number(to)
	p := v.state.Pending
	switch {
	case n != 0 && n == cur:
		if p != nil && p.id() == to && !v.promoted {
			return false, fmt.Errorf("%w: another writer wrote version %s", store.ErrConflict, to)
		}
		return true, nil
	case n == 0 || v.info.versions[n].number == 0 && (p == nil || p.id() != to):
		return false, fmt.Errorf("%w: no version %s", store.ErrNotFound, to)
	case from != "" && number(from) != cur || from == "" && cur != 0:
		return false, fmt.Errorf("%w: the current version is not %q", store.ErrConflict, from)
	case v.waiting() == nil || v.waiting().id() != to:
		return false, fmt.Errorf("%w: %s is not pending", store.ErrConflict, to)
	case told.token != "" && told.from == p.From && told != p.mark():
		return false, fmt.Errorf("%w: pending version %s was replaced by another one", store.ErrConflict, to)
	default:
		return false, nil
	}
}
