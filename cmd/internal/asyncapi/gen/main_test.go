package main

import (
	"bytes"
	"os"
	"testing"
)

func TestDocumentsAreWhatTheCodeSays(t *testing.T) {
	t.Chdir(root)
	for file, made := range map[string]func() ([]byte, error){file: document, detailFile: detail} {
		want, err := made()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says: run go generate ./cmd/...", file)
		}
	}
}
