package main

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSameBytes packs the same content twice, from files that differ in all
// that a zip might take from them.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	var packed [2][]byte
	for i := range packed {
		dir := t.TempDir()
		program, config := filepath.Join(dir, "rotator"), filepath.Join(dir, "rotator.yaml")
		for path, text := range map[string]string{program: "a program", config: "stores: {}\n"} {
			if err := os.WriteFile(path, []byte(text), []fs.FileMode{0o600, 0o644}[i]); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(dir, "out.zip")
		if err := run([]string{out, program, config}); err != nil {
			t.Fatal(err)
		}
		var err error
		if packed[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("the same content gave other bytes")
	}
	z, err := zip.NewReader(bytes.NewReader(packed[0]), int64(len(packed[0])))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != 2 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 || z.File[1].Name != "rotator.yaml" || z.File[1].Mode() != 0o644 {
		t.Errorf("it holds %v", z.File)
	}
}

func TestAFileThatIsMissingIsNoZip(t *testing.T) {
	t.Parallel()
	if err := run([]string{filepath.Join(t.TempDir(), "out.zip"), "not there"}); err == nil {
		t.Error("a program that is not there was packed")
	}
}
