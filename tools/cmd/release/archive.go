package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// entry is one file of a package.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// archive writes the programs with the license, the units and the examples, below one
// folder.
func (p parcel) archive(w io.Writer) error {
	files, err := p.files("", "deployments/systemd")
	if err != nil {
		return err
	}
	top := "rotator-" + p.Version + "-linux-" + p.Arch + "/"
	for i := range files {
		files[i].name = top + files[i].name
	}
	return compress(w, files, p.Date)
}

// files returns the programs below bin, the units below units as they are, and what
// documents them.
func (p parcel) files(bin, units string) ([]entry, error) {
	var out []entry
	for _, f := range []struct {
		from, to string
		mode     int64
	}{
		{filepath.Join(p.Programs, "rotator"), path.Join(bin, "rotator"), 0o755},
		{filepath.Join(p.Programs, "notifier"), path.Join(bin, "notifier"), 0o755},
	} {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		out = append(out, entry{f.to, f.mode, content})
	}
	doc := ""
	if bin != "" {
		doc = "usr/share/doc/rotator"
	}
	for _, g := range []struct{ pattern, to string }{
		{"LICENSE", doc}, {"CHANGELOG.md", doc}, {"docs/examples/*.yaml", path.Join(doc, "examples")}, {"deployments/systemd/*.service", units},
	} {
		matches, err := filepath.Glob(filepath.Join(p.Root, g.pattern))
		if err != nil || len(matches) == 0 {
			return nil, errors.Join(err, errors.New("no file "+g.pattern))
		}
		for _, m := range matches {
			content, err := os.ReadFile(m)
			if err != nil {
				return nil, err
			}
			out = append(out, entry{path.Join(g.to, filepath.Base(m)), 0o644, content})
		}
	}
	return out, nil
}

// compress writes entries, and the folders that they are in, as a compressed tar
// archive.
func compress(w io.Writer, files []entry, date time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	made := map[string]bool{}
	for _, f := range files {
		if err := folders(t, made, path.Dir(f.name), date); err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: date, Format: tar.FormatGNU}); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func folders(t *tar.Writer, made map[string]bool, dir string, date time.Time) error {
	if strings.Trim(dir, "./") == "" || made[dir] {
		return nil
	}
	if err := folders(t, made, path.Dir(dir), date); err != nil {
		return err
	}
	made[dir] = true
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: date, Format: tar.FormatGNU})
}

// gzipped returns entries as compress writes them.
func gzipped(files []entry, date time.Time) ([]byte, error) {
	var b bytes.Buffer
	err := compress(&b, files, date)
	return b.Bytes(), err
}
