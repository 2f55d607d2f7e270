package client_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/clienttest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// forge returns a record as the holder of a key writes it, without this package.
func forge(seq int, event, prev string, keyID secret.VersionID, key string, at time.Time) string {
	line := func(mac string) string {
		b := new(bytes.Buffer)
		for i, p := range []any{seq, at.UTC().Format(time.RFC3339Nano), event, prev, keyID, mac} {
			v, _ := json.Marshal(p)
			b.WriteString([]string{`{"seq":`, `,"time":`, `,"event":`, `,"prev":`, `,"key_id":`, `,"mac":`}[i])
			b.Write(v)
		}
		return b.String() + "}"
	}
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(line("")))
	return line(hex.EncodeToString(h.Sum(nil))) + "\n"
}

// TestAKeyThatWasReplacedForgesNothing: the holder of an old key, which is why one
// rotates, changes no log that a newer key has signed.
func TestAKeyThatWasReplacedForgesNothing(t *testing.T) {
	t.Parallel()
	kit := clienttest.New(t, map[secret.ID]string{key: "the-old-key-that-leaked"})
	var said waittest.Buffer
	cfg := kit.Config()
	cfg.Logger = slog.New(slog.NewJSONHandler(&said, nil))
	m, err := client.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.WithoutCancel(t.Context())) })
	keys, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	var file bytes.Buffer
	log, err := client.NewAuditLogger(t.Context(), m, keys, &file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(event string) {
		t.Helper()
		if err := log.Log(event, nil); err != nil {
			t.Fatal(err)
		}
	}
	write("order.placed")
	old, err := keys.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kit.Rotate(key, "the-new-key")
	kit.WaitApplied(key)
	replaced := time.Now()
	write("order.placed")
	write("withdrawal.refused")
	log.Close()
	good := strings.SplitAfter(strings.TrimSuffix(file.String(), "\n"), "\n")
	mac := func(line int) string {
		var r client.AuditRecord
		if err := json.Unmarshal([]byte(good[line-1]), &r); err != nil {
			t.Fatal(err)
		}
		return r.MAC
	}
	fake := func(seq int, at time.Time) string {
		prev := ""
		if seq > 1 {
			prev = mac(seq - 1)
		}
		return forge(seq, "withdrawal.approved", prev, old.ID, string(old.Value.Reveal()), at)
	}
	v := client.AuditVerifier{Key: keys.Lookup(t.Context()), Anchors: heads(t, &said), Life: func(v secret.VersionID) (client.KeyLife, bool) {
		return client.KeyLife{Until: replaced}, v == old.ID
	}}
	if n := len(v.Anchors); n != 2 {
		t.Fatalf("%d positions are logged, want one when the key changed and one at the end", n)
	}
	if res, err := v.Verify(strings.NewReader(file.String())); err != nil || res.Records != 4 || res.Unannounced != 0 {
		t.Errorf("the log itself: %+v, err %v", res, err)
	}
	bare := client.AuditVerifier{Key: v.Key}
	life := client.AuditVerifier{Key: v.Key, Life: v.Life}
	for name, c := range map[string]struct {
		v    client.AuditVerifier
		text string
		line int
	}{
		"appended":                        {bare, file.String() + "\n" + fake(5, replaced), 5},
		"in place of the last record":     {bare, good[0] + good[1] + good[2] + fake(4, replaced), 4},
		"all of it anew":                  {life, fake(1, replaced.Add(time.Hour)), 1},
		"all of it anew, dated back":      {v, fake(1, replaced.Add(-time.Minute)), 2},
		"from before the key, dated back": {v, good[0] + fake(2, replaced), 2},
		"the end is cut off":              {v, good[0] + good[1] + good[2], 4},
	} {
		_, err := c.v.Verify(strings.NewReader(strings.ReplaceAll(c.text, "\n\n", "\n")))
		if bad, ok := errors.AsType[*client.AuditError](err); !ok || bad.Line != c.line {
			t.Errorf("%s: err %v, want line %d", name, err, c.line)
		}
	}
}

// heads returns the positions that a program has logged.
func heads(t *testing.T, said *waittest.Buffer) (out []client.AuditPosition) {
	t.Helper()
	for line := range strings.Lines(said.String()) {
		var l struct {
			Msg string
			client.AuditPosition
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "audit.head" {
			out = append(out, l.AuditPosition)
		}
	}
	return out
}

// TestATornLineIsCutOff: a crash or a full disk leaves the beginning of a line, which
// never was a record. The next process goes on behind the last whole one.
func TestATornLineIsCutOff(t *testing.T) {
	t.Parallel()
	kit := clienttest.New(t, map[secret.ID]string{key: "the-key"})
	m := kit.Manager()
	keys, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	path := filepath.Join(t.TempDir(), "audit.log")
	for n, torn := range []string{"", `{"seq":`, "\n", `{"seq":3}`} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if torn != "\n" {
			if _, err := f.WriteString(torn); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(0, 0); err != nil {
				t.Fatal(err)
			}
		}
		log, err := client.NewAuditLogger(t.Context(), m, keys, f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := log.ResumeFrom(t.Context(), f); err != nil || got != n {
			t.Fatalf("behind %q: resumed after %d records, want %d: %v", torn, got, n, err)
		}
		if err := log.Log("started", nil); err != nil {
			t.Fatal(err)
		}
		log.Close()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := client.VerifyAudit(bytes.NewReader(text), keys.Lookup(t.Context())); err != nil || n != 4 {
		t.Errorf("%d records, err %v", n, err)
	}
}

// full is a file on a disk that takes a part of a line only.
type full struct {
	*os.File
	full bool
}

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if !f.full {
		return f.File.Write(p)
	}
	n, _ := f.File.Write(p[:10])
	return n, errFull
}

// TestAFullDiskEndsNoAuditLog: records are written again once there is space.
func TestAFullDiskEndsNoAuditLog(t *testing.T) {
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
	disk := &full{File: f}
	log, err := client.NewAuditLogger(t.Context(), m, keys, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for n, isFull := range []bool{false, true, true, false} {
		disk.full = isFull
		if err := log.Log("order.placed", nil); errors.Is(err, errFull) != isFull || errors.Is(err, client.ErrTorn) || !isFull && err != nil {
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
