package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestReferencesAreRead(t *testing.T) {
	dir, files := t.TempDir(), 0
	file := func(content string) config.Ref {
		t.Helper()
		files++
		path := filepath.Join(dir, fmt.Sprint(files))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.Ref{File: path}
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"SET": "value\n", "EMPTY": ""}[name]
		return v, ok
	}
	for name, tt := range map[string]struct {
		ref  config.Ref
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
		"a file that is not there":           {config.Ref{File: dir + "/none"}, "", "no such file"},
		"a variable":                         {config.Ref{Env: "SET"}, "value\n", ""},
		"a variable that is empty":           {config.Ref{Env: "EMPTY"}, "", "environment variable EMPTY: it is empty"},
		"a variable that is not set":         {config.Ref{Env: "UNSET"}, "", "environment variable UNSET: it is not set"},
		"no reference":                       {config.Ref{}, "", "no file and no environment variable is named"},
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
	if _, err := (config.Ref{File: dir + "/none"}).Read(lookup); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestDataDir(t *testing.T) {
	lookup := func(env map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	}
	c := parse(t, "node: {data_dir: /data}")
	if dir, err := c.DataDir(lookup(nil)); err != nil || dir != "/data" {
		t.Errorf("got %s, %v", dir, err)
	}
	c = parse(t, "")
	if dir, err := c.DataDir(lookup(map[string]string{"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})); err != nil || dir != "/var/lib/a" {
		t.Errorf("got %s, %v", dir, err)
	}
	want := "/xdg/rotator"
	if os.Geteuid() == 0 {
		want = "/var/lib/rotator"
	}
	if dir, err := c.DataDir(lookup(map[string]string{"XDG_STATE_HOME": "/xdg"})); err != nil || dir != want {
		t.Errorf("got %s, %v, want %s", dir, err, want)
	}
}

func TestKeysOfASingleNode(t *testing.T) {
	c := parse(t, "stores: {m: {type: natskv}}")
	if ref, own := c.SigningKey("/data"); ref.File != "/data/signing.key" || !own {
		t.Errorf("got %s, %t", ref, own)
	}
	o := c.Stores["m"].Options.(*config.NATSKV)
	if ref, own := o.Key("/data"); ref.File != "/data/master.key" || !own {
		t.Errorf("got %s, %t", ref, own)
	}
	c = parse(t, "signing: {key: {env: SIGN}}\nstores: {m: {type: natskv, master_key: {file: m}}}")
	if ref, own := c.SigningKey("/data"); ref.Env != "SIGN" || own {
		t.Errorf("got %s, %t", ref, own)
	}
	o = c.Stores["m"].Options.(*config.NATSKV)
	if ref, own := o.Key("/data"); ref.File != "m" || own {
		t.Errorf("got %s, %t", ref, own)
	}
}
