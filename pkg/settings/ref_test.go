package settings_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
)

func TestReferencesAreRead(t *testing.T) {
	dir, files := t.TempDir(), 0
	file := func(content string) settings.Ref {
		t.Helper()
		files++
		path := filepath.Join(dir, fmt.Sprint(files))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return settings.Ref{File: path}
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"SET": "value\n", "EMPTY": ""}[name]
		return v, ok
	}
	for name, tt := range map[string]struct {
		ref  settings.Ref
		want string
		err  string
	}{
		"a file":                             {file("value"), "value", ""},
		"a file that ends with a line break": {file("value\n"), "value", ""},
		"a file of Windows":                  {file("value\r\n"), "value", ""},
		"a file with two line breaks":        {file("value\n\n"), "value\n", ""},
		"a file of the largest size":         {file(strings.Repeat("x", secret.MaxValueLength) + "\n"), strings.Repeat("x", secret.MaxValueLength), ""},
		"a file that is larger":              {file(strings.Repeat("x", secret.MaxValueLength+1)), "", "longer than 65536 bytes"},
		"a file with nothing in it":          {file("\n"), "", "it is empty"},
		"a file that is not there":           {settings.Ref{File: dir + "/none"}, "", "no such file"},
		"a variable":                         {settings.Ref{Env: "SET"}, "value", ""},
		"a variable that is empty":           {settings.Ref{Env: "EMPTY"}, "", "environment variable EMPTY: it is empty"},
		"a variable that is not set":         {settings.Ref{Env: "UNSET"}, "", "environment variable UNSET: it is not set"},
		"no reference":                       {settings.Ref{}, "", "no file and no environment variable is named"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := tt.ref.Read(lookup)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil || string(v.Reveal()) != tt.want {
				t.Errorf("got %d bytes, %v", v.Len(), err)
			}
		})
	}
	if _, err := (settings.Ref{File: dir + "/none"}).Read(lookup); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
