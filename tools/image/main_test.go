package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var shipped = flag.String("image.programs", "", "the folder of static programs, which run in the image alone; \"\" builds programs that use the libraries of the machine")

// maxSize is how large an image may be.
const maxSize = 40 << 20

// TestImage: the same bytes twice, a user that is not root, and programs that run as
// that user.
func TestImage(t *testing.T) {
	dir := *shipped
	if dir == "" {
		dir = t.TempDir()
		build := exec.Command("go", "-C", "../..", "build", "-o", dir+"/", "./cmd/rotator", "./cmd/notifier")
		build.Env = append(os.Environ(), "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	a := about{Version: "v1.2.3", Commit: "abc", Date: time.Unix(1_700_000_000, 0).UTC()}
	var once, twice bytes.Buffer
	for _, w := range []io.Writer{&once, &twice} {
		if err := write(w, a, []string{runtime.GOARCH + "=" + dir}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(once.Bytes(), twice.Bytes()) {
		t.Error("building the image twice gives other bytes")
	}
	if *shipped != "" && once.Len() > maxSize {
		t.Errorf("the image has %d bytes, want %d at most", once.Len(), maxSize)
	}
	t.Logf("%d MB", once.Len()>>20)
	root := t.TempDir()
	config := unpack(t, once.Bytes(), root)
	if config.Config.User != "65532:65532" || config.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" || config.Architecture != runtime.GOARCH {
		t.Errorf("configuration %+v", config)
	}
	authority(t, root)
	for _, name := range []string{"rotator", "notifier"} {
		program(t, root, name)
	}
}

// authority checks the certificates of the image.
func authority(t *testing.T, root string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(content) || bytes.Count(content, []byte("BEGIN")) < 100 {
		t.Errorf("%v; the image trusts too few authorities", err)
	}
}

// program runs a program of the image as its user: in the image alone if it is static.
func program(t *testing.T, root, name string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(root, "usr/local/bin", name), "version")
	if os.Geteuid() == 0 { // else the test has no more rights than the image's user
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if *shipped != "" {
			cmd.Path, cmd.Dir, cmd.SysProcAttr.Chroot = "/usr/local/bin/"+name, "/", root
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) == "" {
		t.Errorf("%s version: %v %s", name, err, out)
	}
}

// named fails unless compose.yaml takes the image by the name under which it is loaded.
func named(t *testing.T, image v1.Descriptor) {
	t.Helper()
	compose, err := os.ReadFile("../../deployments/compose/compose.yaml")
	if name := image.Annotations["io.containerd.image.name"]; err != nil || name == "" || !strings.Contains(string(compose), "${ROTATOR_IMAGE:-"+name+"}") {
		t.Errorf("%v: compose.yaml does not take %q", err, name)
	}
}

// unpack unpacks the only image of a layout into root, and returns its configuration.
func unpack(t *testing.T, layout []byte, root string) (config v1.ConfigFile) {
	t.Helper()
	blobs := map[string][]byte{}
	each(t, bytes.NewReader(layout), func(h *tar.Header, content []byte) { blobs[h.Name] = content })
	blob := func(h v1.Hash) []byte { return blobs["blobs/"+h.Algorithm+"/"+h.Hex] }
	var index v1.IndexManifest
	var manifest v1.Manifest
	if err := errors.Join(json.Unmarshal(blobs["index.json"], &index)); err != nil || len(index.Manifests) != 1 || len(blobs["oci-layout"]) == 0 {
		t.Fatalf("%v: index %s", err, blobs["index.json"])
	}
	named(t, index.Manifests[0])
	if err := json.Unmarshal(blob(index.Manifests[0].Digest), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v: the image has %d architectures", err, len(index.Manifests))
	}
	if err := json.Unmarshal(blob(index.Manifests[0].Digest), &manifest); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob(manifest.Config.Digest), &config); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil { // the user of the image enters it
		t.Fatal(err)
	}
	for dir := filepath.Dir(root); os.Geteuid() == 0 && dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(blob(l.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		each(t, z, func(h *tar.Header, content []byte) { place(t, root, h, content) })
	}
	return config
}

// place makes one entry of a layer.
func place(t *testing.T, root string, h *tar.Header, content []byte) {
	t.Helper()
	path, mode := filepath.Join(root, filepath.FromSlash(h.Name)), h.FileInfo().Mode()
	var err error
	if h.Typeflag == tar.TypeDir {
		err = os.MkdirAll(path, 0o755)
	} else {
		err = os.WriteFile(path, content, 0o600)
	}
	if err = errors.Join(err, os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func each(t *testing.T, r io.Reader, visit func(*tar.Header, []byte)) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		visit(h, content)
	}
}
