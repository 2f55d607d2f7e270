package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is a parcel of two small programs.
func sample(t *testing.T) parcel {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"rotator", "notifier"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return parcel{Version: "v1.2.3", Arch: "amd64", Programs: dir, Root: "../../..", Date: time.Unix(1_700_000_000, 0).UTC()}
}

// names returns the entries of a compressed tar archive, with what each holds.
func names(t *testing.T, content []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		b, rerr := io.ReadAll(r)
		if err = errors.Join(err, rerr); err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(b)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	p := sample(t)
	for name, pack := range map[string]func(io.Writer) error{"archive": p.archive, "deb": p.deb} {
		var once, twice bytes.Buffer
		if err := errors.Join(pack(&once), pack(&twice)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

func TestWhatIsInTheArchive(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := sample(t).archive(&b); err != nil {
		t.Fatal(err)
	}
	got := names(t, b.Bytes())
	for _, want := range []string{"rotator", "notifier", "LICENSE", "examples/single-node.yaml", "deployments/systemd/rotator.service"} {
		if _, ok := got["rotator-v1.2.3-linux-amd64/"+want]; !ok {
			t.Errorf("no %s among %d files", want, len(got))
		}
	}
}

// TestWhatIsInTheDebianPackage: the units start the programs where the package puts
// them.
func TestWhatIsInTheDebianPackage(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := sample(t).deb(&b); err != nil {
		t.Fatal(err)
	}
	parts := members(t, b.Bytes())
	if parts["debian-binary"] != "2.0\n" {
		t.Errorf("format %q", parts["debian-binary"])
	}
	control := names(t, []byte(parts["control.tar.gz"]))
	if !strings.Contains(control["./control"], "\nVersion: 1.2.3\nArchitecture: amd64\n") || !strings.Contains(control["./md5sums"], "  usr/bin/rotator\n") {
		t.Errorf("control %q", control)
	}
	data := names(t, []byte(parts["data.tar.gz"]))
	if unit := data["usr/lib/systemd/system/rotator.service"]; !strings.Contains(unit, "ExecStart=/usr/bin/rotator run") || strings.Contains(unit, "/usr/local/") {
		t.Errorf("unit %s", unit)
	}
	if _, ok := data["usr/bin/notifier"]; !ok {
		t.Error("no notifier")
	}
}

// members returns the files of an ar archive.
func members(t *testing.T, b []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for b = bytes.TrimPrefix(b, []byte("!<arch>\n")); len(b) >= 60; {
		name, size := strings.TrimSpace(string(b[:16])), 0
		for _, c := range strings.TrimSpace(string(b[48:58])) {
			size = size*10 + int(c-'0')
		}
		out[name] = string(b[60 : 60+size])
		b = b[60+size+size%2:]
	}
	return out
}

// TestVersionsSortAsTheyAreMeant: by the order of dpkg, in which ~ is before the end.
func TestVersionsSortAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	var got []string
	for _, v := range []string{"v1.2.3", "v1.2.3-rc.1", "v1.2.3-4-g0123abc", "0123abc-dirty", "unknown"} {
		got = append(got, debianVersion(v))
	}
	if want := []string{"1.2.3", "1.2.3~rc.1", "1.2.3+4.g0123abc", "0~0123abc~dirty", "0~unknown"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSums(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sums(dir), sums(dir)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if want := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"; err != nil || string(got) != want {
		t.Errorf("%v %q", err, got)
	}
}
