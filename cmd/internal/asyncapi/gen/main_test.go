package main

import (
	"bytes"
	"os"
	"testing"
)

func TestDocumentIsWhatTheCodeSays(t *testing.T) {
	t.Chdir(root)
	want, err := document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what pkg/events says: run go generate ./cmd/...", file)
	}
}
