package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/clienttest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestALogGoesOnAfterItsLastRecord: whatever a crash left behind it is cut off from
// the file that the log is written to, also if the log is read from elsewhere.
func TestALogGoesOnAfterItsLastRecord(t *testing.T) {
	t.Parallel()
	kit := clienttest.New(t, map[secret.ID]string{key: "the-key"})
	m := kit.Manager()
	keys, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	for name, left := range map[string]string{"half a record": `{"seq":3,"ti`, "an empty line": "\n", "empty lines": "\n\n\n", "nothing": ""} {
		path := filepath.Join(t.TempDir(), "audit.log")
		records := func(n int) {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			log, err := client.NewAuditLogger(t.Context(), m, keys, f)
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := log.ResumeFrom(t.Context(), bytes.NewReader(before)); err != nil || got != n {
				t.Fatalf("%s: resumed after %d records, %v; want %d", name, got, err, n)
			}
			for range 2 {
				if err := log.Log("order.placed", nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		records(0)
		whole, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, append(whole, left...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		records(2)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := client.VerifyAudit(bytes.NewReader(text), keys.Lookup(t.Context())); err != nil || n != 4 {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
	}
}

// wedged is a file that takes half of a record, and cannot be cut off for a while.
type wedged struct {
	*os.File
	stuck bool
}

var errWedged = errors.New("the disk does not answer")

func (w *wedged) Write(p []byte) (int, error) {
	if !w.stuck {
		return w.File.Write(p)
	}
	n, _ := w.File.Write(p[:len(p)/2])
	return n, errWedged
}

func (w *wedged) Truncate(size int64) error {
	if w.stuck {
		return errWedged
	}
	return w.File.Truncate(size)
}

// TestATornRecordIsCutOffOnceThatWorks: the process need not be restarted.
func TestATornRecordIsCutOffOnceThatWorks(t *testing.T) {
	t.Parallel()
	kit := clienttest.New(t, map[secret.ID]string{key: "the-key"})
	m := kit.Manager()
	keys, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	disk := &wedged{File: f}
	log, err := client.NewAuditLogger(t.Context(), m, keys, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for n, stuck := range []bool{false, true, true, false} {
		disk.stuck = stuck
		if err := log.Log("order.placed", nil); errors.Is(err, client.ErrTorn) != stuck || !stuck && err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := client.VerifyAudit(bytes.NewReader(text), keys.Lookup(t.Context())); err != nil || n != 2 {
		t.Errorf("%d records, err %v", n, err)
	}
}
