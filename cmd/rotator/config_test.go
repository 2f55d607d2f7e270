package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/cli"
)

// TestValidateAsJSON: problems and warnings are data, and the exit code is that of
// the text.
func TestValidateAsJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		code, line int
		ok         bool
	}{
		"stores: {main: {type: natskv}}\nsecrets: [{id: DB, ttl: soon, services: [api]}]\n": {cli.ExitUsage, 2, false},
		"stores: {main: {type: natskv}}\nsecrets: [{id: DB, ttl: 30d}]\n":                   {cli.ExitOK, 2, true}, // no service: a warning
	} {
		file := filepath.Join(t.TempDir(), "rotator.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := root()
		var out, errs bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		cmd.SetArgs([]string{"config", "validate", "--json", file})
		code := cli.Execute(cmd)
		var got validated
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v\n%s\n%s", err, &out, &errs)
		}
		if code != want.code || got.OK != want.ok || len(got.Problems) != 1 || got.Problems[0].Line != want.line {
			t.Errorf("exit %d, %+v\n%s", code, got, &errs)
		}
	}
}
