package awssm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// TestKeysOfAProfileAreReadAgain: a client that runs uses the keys that the shared
// credentials file has now, and the keys from before while the file has none.
func TestKeysOfAProfileAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys := func(id string) string {
		return fmt.Sprintf("[ours]\naws_access_key_id = %s\naws_secret_access_key = secret-of-%s\n", id, id)
	}
	put(keys("first"))
	synctest.Test(t, func(t *testing.T) {
		ac, err := awssm.Load(t.Context(), awssm.Config{Region: "eu-central-1", Profile: "ours"})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct{ content, want string }{
			{keys("first"), "first"}, {keys("second"), "second"}, {"", "second"}, {"[ours]\naws_access", "second"}, {keys("third"), "third"},
		} {
			put(step.content)
			time.Sleep(time.Minute)
			got, err := ac.Credentials.Retrieve(t.Context())
			if err != nil || got.AccessKeyID != step.want || got.SecretAccessKey != "secret-of-"+step.want {
				t.Errorf("with %q: the key %q, err %v, want %q", step.content, got.AccessKeyID, err, step.want)
			}
		}
	})
}
