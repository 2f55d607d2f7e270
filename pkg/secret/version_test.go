package secret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestVersionIDValidate(t *testing.T) {
	for in, ok := range map[string]bool{
		"17": true, "9b2e1c1e-0000-4000-8000-000000000000": true, strings.Repeat("v", secret.MaxVersionIDLength): true, "!~": true,
		"": false, strings.Repeat("v", secret.MaxVersionIDLength+1): false, "a b": false, "a\x7f": false, "ä": false,
	} {
		if err := secret.VersionID(in).Validate(); ok != (err == nil) || err != nil && !errors.Is(err, secret.ErrInvalidVersionID) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestMetadataFindsVersions(t *testing.T) {
	m := secret.Metadata{Versions: []secret.Version{{ID: "1", Stage: secret.StageRetired}, {ID: "3", Stage: secret.StagePending}, {ID: "2", Stage: secret.StageCurrent}}}
	if v, ok := m.At(secret.StagePending); !ok || v.ID != "3" {
		t.Errorf("pending is %v, %v", v, ok)
	}
	if v, ok := m.At(secret.StagePrevious); ok || v != (secret.Version{}) {
		t.Errorf("previous is %v, %v", v, ok)
	}
	if v, ok := m.Version("1"); !ok || v.Stage != secret.StageRetired {
		t.Errorf("version 1 is %v, %v", v, ok)
	}
	if _, ok := m.Version("4"); ok {
		t.Error("version 4 is found")
	}
	if got := m.Current().ID; got != "2" {
		t.Errorf("current is %s", got)
	}
	if got := (secret.Metadata{}).Current(); got != (secret.Version{}) {
		t.Errorf("current of nothing is %v", got)
	}
}
