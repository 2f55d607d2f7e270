package rotation_test

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAValueKeepsItsShape: what is more than a password is not replaced by one,
// and nothing is written, whichever way the rotation is asked for.
func TestAValueKeepsItsShape(t *testing.T) {
	t.Parallel()
	for name, current := range map[string]string{
		"a document":                    `{"username":"app","password":"OldPassw0rd-abcdef","host":"db"}`,
		"a document of one member":      `{"password":"OldPassw0rd-abcdef"}`,
		"an array":                      `["OldPassw0rd-abcdef"]`,
		"a document with a mark":        "\ufeff{\"password\":\"x\"}\n",
		"a PEM file":                    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"an env file":                   "USER=app\nPASSWORD=x\n",
		"a URL":                         "postgres://app:OldPassw0rd@db/app",
		"a JDBC URL":                    "jdbc:postgresql://db/app?user=app&password=x",
		"a keyword connection string":   "host=db user=app password=x",
		"an ADO.NET connection string":  "Server=db;User Id=app;Password=x;",
		"binary data, such as PKCS #12": "\x30\x82\xff\xfe\x00",
	} {
		for _, phase := range []rotation.Phase{rotation.PhaseWhole, rotation.PhaseCreate} {
			t.Run(name+" "+string(phase), func(t *testing.T) {
				t.Parallel()
				x := newRig(t, nil)
				from := x.becomes(t, current)
				try := rotation.Try{Phase: phase, Request: rotation.Request{Secret: "ID", From: from, Reason: events.ReasonManual}}
				if _, err := x.r.Rotate(t.Context(), try); !errors.Is(err, secret.ErrShape) {
					t.Fatalf("err %v, want %v", err, secret.ErrShape)
				}
				m, err := x.st.Describe(t.Context(), "ID")
				if _, pending := m.At(secret.StagePending); err != nil || pending || m.Current().ID != from {
					t.Errorf("something was written: %+v, %v", m.Versions, err)
				}
			})
		}
	}
}

// TestAPendingPasswordDoesNotReplaceADocument: an earlier release, or another
// program, may have written it.
func TestAPendingPasswordDoesNotReplaceADocument(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	from := x.becomes(t, `{"username":"app","password":"OldPassw0rd-abcdef"}`)
	m, err := x.st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	w := store.Write{Token: x.spec.TokenIn(m.Incarnation, from, 0), From: from, Value: secret.NewValue([]byte("Abcdefghijklm-12"))}
	if _, err := x.st.Put(t.Context(), "ID", w); err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, from); !errors.Is(err, secret.ErrShape) || x.current(t) != from {
		t.Errorf("err %v, current %s; want %v and %s", err, x.current(t), secret.ErrShape, from)
	}
}

// becomes makes a value the current one, as another program does.
func (x *rig) becomes(t *testing.T, value string) secret.VersionID {
	t.Helper()
	v, err := x.st.Put(t.Context(), "ID", store.Write{Token: secret.NewToken("ID", x.v1, "other", 0), From: x.v1, Value: secret.NewValue([]byte(value))})
	if err == nil {
		err = x.st.Promote(t.Context(), "ID", x.v1, v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}
