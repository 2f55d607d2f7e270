package config_test

import (
	"os"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

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
