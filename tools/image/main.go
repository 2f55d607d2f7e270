// Command image packs the programs into an OCI image: nothing but them, the
// certificates of public authorities, and a user. It needs no container engine, and
// asks no registry. The same programs give the same bytes.
//
//	image -version V -commit C -date T -o IMAGE.tar ARCH=DIR...
//
// The result is an OCI image layout in a tar archive, which skopeo, podman and
// "docker load" read: an index with one image for each architecture, whose programs
// are rotator and notifier in DIR.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// uid is the user and group of the programs: that of nonroot in other images.
const uid = 65532

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// about says what an image is of.
type about struct {
	Version, Commit string
	Date            time.Time
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var a about
	flags.StringVar(&a.Version, "version", "unknown", "the version of the programs")
	flags.StringVar(&a.Commit, "commit", "", "the commit that they were built from")
	out := flags.String("o", "image.tar", "the `file` to write")
	date := flags.Int64("date", 0, "when that was committed, in `seconds` since 1970; everything in the image is of then")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("usage: image [flags] ARCH=DIR...")
	}
	a.Date = time.Unix(*date, 0).UTC()
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	return errors.Join(write(f, a, flags.Args()), f.Close())
}

// loadedAs is the name of the image after it was loaded, which deployments/compose takes.
const loadedAs = "localhost/rotator:latest"

// write writes the archive of the images.
func write(w io.Writer, a about, programs []string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		arch, dir, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=DIR", p)
		}
		img, err := image(a, arch, dir)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	// Engines load an archive with one entry only, and give it the name of containerd.
	named := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		MediaType:   types.OCIImageIndex,
		Annotations: map[string]string{"org.opencontainers.image.ref.name": a.Version, "io.containerd.image.name": loadedAs},
	}})
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := layout.Write(dir, named); err != nil {
		return err
	}
	return archive(w, dir, a.Date)
}

// image returns the image of one architecture.
func image(a about, arch, dir string) (v1.Image, error) {
	var layers []mutate.Addendum
	for _, part := range []struct {
		by  string
		tar func() ([]byte, error)
	}{
		{"certificates and user", func() ([]byte, error) { return base(a.Date) }},
		{"programs", func() ([]byte, error) { return programs(a.Date, dir) }},
	} {
		content, err := part.tar()
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		layers = append(layers, mutate.Addendum{Layer: l, History: v1.History{Created: v1.Time{Time: a.Date}, CreatedBy: part.by}})
	}
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
	if err != nil {
		return nil, err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created, c.Author = "linux", arch, v1.Time{Time: a.Date}, ""
	c.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", uid, uid),
		Entrypoint: []string{"/usr/local/bin/rotator"},
		Env:        []string{"PATH=/usr/local/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		WorkingDir: "/var/lib/rotator",
		Labels: map[string]string{
			"org.opencontainers.image.title": "rotator", "org.opencontainers.image.version": a.Version, "org.opencontainers.image.revision": cmp.Or(a.Commit, "unknown"),
			"org.opencontainers.image.created": a.Date.Format(time.RFC3339), "org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.description": "Secret rotation that is proven to have reached every process before the old value dies",
		},
	}
	return mutate.ConfigFile(img, c)
}

// base returns the layer below the programs.
func base(date time.Time) ([]byte, error) {
	l := newLayer(date)
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/", "usr/", "usr/local/", "usr/local/bin/", "var/", "var/lib/"} {
		l.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	l.add(&tar.Header{Typeflag: tar.TypeDir, Name: "var/lib/rotator/", Mode: 0o700, Uid: uid, Gid: uid}, nil)
	l.add(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	l.file("etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nrotator:x:%d:%d:rotator:/var/lib/rotator:/sbin/nologin\n", uid, uid))
	l.file("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nrotator:x:%d:\n", uid))
	l.file("etc/ssl/certs/ca-certificates.crt", 0o644, authorities())
	return l.close()
}

// authorities returns the certificates that Mozilla trusts without a condition, as the
// Go project publishes them.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil { // a file of certificates has no place for conditions
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return b.Bytes()
}

func programs(date time.Time, dir string) ([]byte, error) {
	l := newLayer(date)
	for _, name := range []string{"notifier", "rotator"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		l.file("usr/local/bin/"+name, 0o755, content)
	}
	return l.close()
}

// layer is a tar archive in which everything is of one time and belongs to root.
type layer struct {
	b    bytes.Buffer
	tar  *tar.Writer
	date time.Time
	err  error
}

func newLayer(date time.Time) *layer {
	l := &layer{date: date}
	l.tar = tar.NewWriter(&l.b)
	return l
}

func (l *layer) file(name string, mode int64, content []byte) {
	l.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (l *layer) add(h *tar.Header, content []byte) {
	h.ModTime, h.Size, h.Format = l.date, int64(len(content)), tar.FormatPAX
	if l.err == nil {
		l.err = l.tar.WriteHeader(h)
	}
	if l.err == nil {
		_, l.err = l.tar.Write(content)
	}
}

func (l *layer) close() ([]byte, error) {
	err := errors.Join(l.err, l.tar.Close())
	return l.b.Bytes(), err
}

// archive writes the files below dir in the order of their names.
func archive(w io.Writer, dir string, date time.Time) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: date})
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: date, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = t.Write(content)
		return err
	})
	return errors.Join(err, t.Close())
}
