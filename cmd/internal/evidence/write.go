package evidence

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// Options say what to write, and where.
type Options struct {
	// Dir is made, or is empty.
	Dir string
	// From is the first moment that is included, and To the first one that is not.
	From, To time.Time
	// Seed and SampleSize make the sample.
	Seed       string
	SampleSize int
	// Program is the version of rotator, and By who makes the evidence.
	Program, By string
}

// Write writes the evidence about secrets and of the records on a bus, and returns its
// manifest. A directory without a manifest was not finished.
func Write(ctx context.Context, bus *events.Bus, secrets []inspect.Secret, o Options) (m Manifest, err error) {
	if err := newDir(o.Dir); err != nil {
		return Manifest{}, err
	}
	w := &writer{bus: bus, files: map[string]*file{}, chains: newChains(), m: Manifest{
		Format: Format, Program: o.Program, MadeBy: o.By, MadeAt: time.Now().UTC(), From: o.From.UTC(), To: o.To.UTC(), Seed: o.Seed, SampleSize: o.SampleSize,
	}}
	defer func() {
		if err = errors.Join(err, w.close()); err != nil {
			err = fmt.Errorf("write the evidence to %s: %w", o.Dir, err)
		}
	}()
	for _, name := range append([]string{fileReadme, fileLines}, tables...) {
		if err := w.create(o.Dir, name); err != nil {
			return Manifest{}, err
		}
	}
	if err := w.all(ctx, secrets); err != nil {
		return Manifest{}, err
	}
	return w.m, w.finish(o.Dir)
}

// newDir makes a directory, or takes one that is empty.
func newDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	there, err := os.ReadDir(dir)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%s is not empty; name a new directory", dir)
	}
	return err
}

// writer writes one directory.
type writer struct {
	bus    *events.Bus
	files  map[string]*file
	derive *deriver
	chains *chains
	m      Manifest
	line   Line // the last one
}

// all writes every line, and the tables with them.
func (w *writer) all(ctx context.Context, secrets []inspect.Secret) (err error) {
	w.derive, err = newDeriver(w.m.Seed, w.m.SampleSize, func(table string, row []string) error {
		_, err := w.files[table].Write(csvRow(row))
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range secrets {
		if err := w.put(Line{Secret: newSecret(s)}); err != nil {
			return err
		}
	}
	err = w.bus.ReadRecords(ctx, w.m.From, w.m.To, func(r events.StoredRecord) error { return w.put(Line{Record: w.record(r)}) })
	if err != nil {
		return err
	}
	err = w.bus.ReadLog(ctx, events.LogQuery{Types: []events.Type{events.TypeRollout, events.TypeRotationFailed, events.TypeProofContradicted}}, w.event)
	if err != nil {
		return err
	}
	return w.derive.end()
}

// record returns a record, and notes its key and its place.
func (w *writer) record(stored events.StoredRecord) *Record {
	r := newRecord(stored)
	if s, err := events.ParseSealed(stored.Data); err == nil {
		if key, err := s.Key(); err == nil {
			r.Trusted = w.bus.Trusts(key)
			k := Key{ID: s.KeyID, Public: base64.RawURLEncoding.EncodeToString(key), Trusted: r.Trusted}
			if !slices.Contains(w.m.Keys, k) {
				w.m.Keys = append(w.m.Keys, k)
			}
		}
	}
	w.chains.add(r, read(r).digest)
	return r
}

// event writes an event that is an exception.
func (w *writer) event(a events.Announcement) error {
	r := a.Event.Data.Rollout
	if a.At.Before(w.m.From) || !a.At.Before(w.m.To) || a.Event.Type == events.TypeRollout && (r == nil || r.State != events.RolloutStalled) {
		return nil
	}
	e := inspect.NewLogEntry(a)
	return w.put(Line{Event: &e})
}

// put seals and writes a line.
func (w *writer) put(l Line) error {
	l.N, l.Previous = w.line.N+1, w.m.Head
	if w.line.N > 0 {
		l.PreviousIs = w.line.what()
	}
	s, err := w.bus.Seal(sealedLine, l)
	if err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err == nil {
		_, err = w.files[fileLines].Write(append(text, '\n'))
	}
	if err == nil {
		w.m.Head, err = s.Digest()
	}
	if err != nil {
		return err
	}
	w.line, w.m.HeadIs = l, l.what()
	return w.derive.line(l)
}

// finish writes the README and the manifest.
func (w *writer) finish(dir string) error {
	w.m.Counts, w.m.Chains = w.derive.counts, w.chains.all
	if _, err := w.files[fileReadme].Write([]byte(readme(w.m))); err != nil {
		return err
	}
	for _, name := range append([]string{fileReadme, fileLines}, tables...) {
		f, err := w.files[name].sum()
		if err != nil {
			return err
		}
		w.m.Files = append(w.m.Files, f)
	}
	s, err := w.bus.Seal(sealedManifest, w.m)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fileManifest), append(text, '\n'), 0o600)
}

func (w *writer) create(dir, name string) error {
	f, err := newFile(dir, name)
	if err == nil {
		w.files[name] = f
	}
	return err
}

func (w *writer) close() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
