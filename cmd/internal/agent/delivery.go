//go:build unix

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// delivery brings versions to one file and its program. It is not used
// concurrently.
type delivery struct {
	file File
	// silent is set when the program is not to be told.
	silent bool
	// gone reports whether the program has ended, nil where that is not known.
	gone func() bool
	// half hears which version the file or the program may have although its delivery
	// failed, "" for none. It may be nil.
	half func(secret.VersionID)
	// log is slog.Default where it is nil.
	log *slog.Logger
	// told is the version that the program was told of by this process.
	told secret.VersionID
}

var errStaged = errors.New("a file holds one version, and cannot hold a pending one beside it")

// hook is the [client.Hook] of the delivery. What it has begun it ends, also
// while the agent is told to stop.
func (d *delivery) hook(ctx context.Context, c client.Change) error {
	if c.Staged {
		return errStaged
	}
	if d.gone != nil {
		d.gone() // notes which process has which version, before one is told of another
	}
	err := d.deliver(context.WithoutCancel(ctx), c)
	var half secret.VersionID
	if have, ok := d.file.content(); err != nil && (d.told == c.Version.ID || ok && have.Equal(c.Value)) {
		half = c.Version.ID
	}
	if d.half != nil {
		d.half(half)
	}
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", d.file.Path, err)
	}
	return nil
}

func (d *delivery) deliver(ctx context.Context, c client.Change) error {
	f := d.file
	before, had := f.content()
	held := f.holds(c.Value)
	if held && (f.Reload == nil || f.told() == c.Version.ID) {
		return nil
	}
	// From here until the program was told, a crash makes the next start tell it.
	if err := f.untell(); err != nil {
		return err
	}
	if f.Before {
		return d.deliverBefore(ctx, c, before)
	}
	if !held {
		if err := f.write(c.Value); err != nil {
			return err
		}
		d.told = ""
	}
	if f.Reload == nil {
		return nil
	}
	if !d.silent && d.told != c.Version.ID {
		err := f.Reload.Reload(ctx, f.Path, c, before)
		if err != nil && d.gone != nil && d.gone() {
			err = nil // the next program reads the file when it starts
		}
		if err != nil && had && !held {
			// What the manager counts as in use is what the file holds.
			err = errors.Join(err, f.write(before))
		}
		if err != nil {
			return err
		}
		d.told = c.Version.ID
	}
	d.tell(ctx, c.Version.ID)
	return nil
}

// deliverBefore tells the program before the file changes: a reader of the file then
// finds no value that the program does not accept yet. If the program refuses the value,
// the file is as it was. If the file cannot be written then, the program has the value
// all the same. A crash in between has the next start tell it again.
func (d *delivery) deliverBefore(ctx context.Context, c client.Change, before secret.Value) error {
	f := d.file
	if !d.silent && d.told != c.Version.ID {
		next, remove, err := f.offer(c.Value)
		if err != nil {
			return err
		}
		defer remove()
		if err := f.Reload.Reload(ctx, next, c, before); err != nil {
			return err
		}
		d.told = c.Version.ID
	}
	if !f.holds(c.Value) {
		if err := f.write(c.Value); err != nil {
			return err
		}
	}
	d.tell(ctx, c.Version.ID)
	return nil
}

// tell notes that the program was told of a version. The program has taken it whether or
// not that can be noted; without a note the next agent tells it again.
func (d *delivery) tell(ctx context.Context, v secret.VersionID) {
	if err := d.file.tell(v); err != nil {
		cmp.Or(d.log, slog.Default()).LogAttrs(ctx, slog.LevelWarn, "agent.untold", slog.String("secret_id", string(d.file.ID)), slog.String("error", err.Error()),
			slog.String("message", "the program was told of the version, and the next agent tells it again"))
	}
}
