package vault

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// List implements [store.Driver]: one call for the settings of the mount in an
// hour, one for every folder, and for each
// secret one for its metadata, some together. The state is read only of a
// secret whose current version this driver has not seen yet. Folders and
// secrets that are out of scope cost nothing, except that custom metadata has to
// be read to be known.
func (d *Driver) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		d.readLimit(ctx)
		more, err := d.walk(ctx, "", func(m secret.Metadata) bool { return yield(m, nil) })
		if err != nil && more {
			yield(secret.Metadata{}, err)
		}
	}
}

// atOnce is how many secrets of a folder are described before the first of them
// is visited, so that a large folder does not look like a server that hangs.
const atOnce = 256

// walk visits the secrets under a folder and reports whether to go on.
func (d *Driver) walk(ctx context.Context, folder string, visit func(secret.Metadata) bool) (more bool, err error) {
	names, err := d.names(ctx, folder)
	if err != nil {
		return true, err
	}
	var paths []string
	for _, name := range names {
		if path := folder + name; !strings.HasSuffix(name, "/") && d.cfg.Scope.Path(path) {
			paths = append(paths, path)
		}
	}
	if !visit(secret.Metadata{}) { // it gets on, though there may be nothing here
		return false, nil
	}
	for some := range slices.Chunk(paths, atOnce) {
		found, err := d.all(ctx, some)
		if err != nil {
			return true, err
		}
		for _, m := range found { // an empty one says that too
			if !visit(m) {
				return false, nil
			}
		}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "/") || d.cfg.full(folder+strings.TrimSuffix(name, "/")) == d.cfg.StatePrefix || !d.cfg.Scope.Folder(folder+name) {
			continue
		}
		if more, err := d.walk(ctx, folder+name, visit); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// names returns what is in a folder; other folders end in a slash.
func (d *Driver) names(ctx context.Context, folder string) ([]string, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
		return l.ListWithContext(ctx, strings.TrimSuffix(d.cfg.metadata(folder), "/")+"/")
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && got == nil {
		return nil, d.missing(ctx, nil)
	}
	if err != nil {
		return nil, d.explain(ctx, err)
	}
	keys, _ := got.Data["keys"].([]any)
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		if name, ok := k.(string); ok {
			out = append(out, name)
		}
	}
	return out, nil
}

// all describes some secrets; one that is gone is left empty.
func (d *Driver) all(ctx context.Context, paths []string) ([]secret.Metadata, error) {
	out := make([]secret.Metadata, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(d.cfg.Concurrency)
	for n, path := range paths {
		g.Go(func() error {
			i, err := d.readInfo(ctx, path)
			if err != nil || !i.exists() || !d.cfg.Scope.Secret(path, i.attributes) {
				return err
			}
			v := d.memory.get(path).view
			if v.info.created != i.created || v.info.current != i.current {
				if v, err = d.view(ctx, path); err != nil {
					return err
				}
			}
			v.info = i
			out[n] = v.metadata(path)
			out[n].MaxVersions = d.keeps(i)
			return nil
		})
	}
	return out, g.Wait()
}
