package settings_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/settings"
)

func TestCredentialsNeverPrint(t *testing.T) {
	t.Parallel()
	a := settings.VaultAccess{Method: "token", Token: "Canary-4711", SecretID: "Canary-4711"}
	inJSON, err := json.Marshal(a)
	if text := fmt.Sprintf("%v %+v %#v %s %d %s", a, a, a, a, &a, inJSON); err != nil || strings.Contains(text, "4711") || !strings.Contains(text, "token") {
		t.Errorf("the settings print their credentials, or nothing: %v", err)
	}
}
