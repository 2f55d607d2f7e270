package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

const reporting = "arn:aws:iam::111122223333:role/reporting"

func sighting(id secret.ID, identity string, at time.Time) events.Sighting {
	return events.Sighting{SecretID: id, Store: "aws", Identity: identity, Address: "192.0.2.7", VersionID: "v3", At: at}
}

func TestASightingOutlivesARestart(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	for _, s := range []events.Sighting{sighting("DB", reporting, at.Add(-time.Hour)), sighting("DB", reporting, at), sighting("DB/2", "another", at)} {
		if err := b.RecordRead(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	own := events.OwnReader{Store: "aws", Identity: "arn:aws:iam::111122223333:role/rotator"}
	if err := b.RecordOwnReader(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	srv.Start()
	got, err := srv.NewBus(events.StreamOptions{}).Reads(t.Context(), "DB")
	if err != nil || len(got.Sightings) != 1 || !got.More.IsZero() || len(got.Sources) != 0 || len(got.Own) != 1 || got.Own[0] != own {
		t.Fatalf("Reads() = %+v, %v; want the last read of one identity", got, err)
	}
	s := got.Sightings[0]
	if s.Identity != reporting || s.VersionID != "v3" || !s.At.Equal(at) || s.StoredAt.Before(at) {
		t.Errorf("the sighting is %+v", s)
	}
	if ids, err := b.ReadSecrets(t.Context()); err != nil || fmt.Sprint(ids) != "[DB DB/2]" {
		t.Errorf("ReadSecrets() = %v, %v", ids, err)
	}
}

// TestReadersOfASecretAreBounded: a sender that forges identities fills no stream,
// and what found no place is not forgotten.
func TestReadersOfASecretAreBounded(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	for i := range events.MaxReaders + 5 {
		if err := b.RecordRead(t.Context(), sighting("DB", fmt.Sprint("identity-", i), time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.RecordRead(t.Context(), sighting("DB", "identity-0", time.Now())); err != nil {
		t.Fatal(err)
	}
	got, err := b.Reads(t.Context(), "DB")
	if err != nil || len(got.Sightings) != events.MaxReaders || got.More.IsZero() {
		t.Errorf("%d identities, more %s, %v; want %d and more", len(got.Sightings), got.More, err, events.MaxReaders)
	}
}

func TestASightingIsChecked(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	for name, change := range map[string]func(*events.Sighting){
		"no identity":           func(s *events.Sighting) { s.Identity = "" },
		"a long identity":       func(s *events.Sighting) { s.Identity = strings.Repeat("a", 513) },
		"an identity in colour": func(s *events.Sighting) { s.Identity = "\x1b[31mroot" },
		"a long address":        func(s *events.Sighting) { s.Address = strings.Repeat("1", 129) },
		"a malformed version":   func(s *events.Sighting) { s.VersionID = "a\nb" },
		"no secret":             func(s *events.Sighting) { s.SecretID = "" },
		"no store":              func(s *events.Sighting) { s.Store = "" },
	} {
		s := sighting("DB", reporting, time.Now())
		change(&s)
		if err := b.RecordRead(t.Context(), s); err == nil {
			t.Errorf("%s was stored", name)
		}
	}
}

// TestARecordThatIsNotUnderstoodIsAReader: it may be that of a later version of
// the program.
func TestARecordThatIsNotUnderstoodIsAReader(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{Memory: true})
	if _, err := srv.Connect().Request(b.Names().Reader(secret.ID("DB").Key(), "x"), []byte("{"), time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := b.Reads(t.Context(), "DB")
	if err != nil || len(got.Sightings) != 1 || got.Sightings[0].Identity != "an identity that is not understood" {
		t.Errorf("Reads() = %+v, %v", got, err)
	}
}

func TestASourceNoticesThatItsRecordIsGone(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{Memory: true})
	since := time.Now().UTC().Truncate(time.Second)
	source := events.ReadSource{Store: "vault", Name: "main", Since: since, At: since}
	seq, err := b.RecordSource(t.Context(), source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.RecordSource(t.Context(), source, 0); !errors.Is(err, events.ErrConflict) {
		t.Errorf("a second listener of the same name: %v, want a conflict", err)
	}
	if got, last, err := b.Source(t.Context(), "vault", "main"); err != nil || last != seq || got != source {
		t.Errorf("Source() = %+v, %d, %v", got, last, err)
	}
	if reads, err := b.Reads(t.Context(), "DB"); err != nil || len(reads.Sources) != 1 || reads.Sources[0] != source {
		t.Errorf("Reads() = %+v, %v", reads, err)
	}
	js, err := srv.Connect().JetStream()
	if err == nil {
		err = js.PurgeStream(b.Names().ReadersStream())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.RecordSource(t.Context(), source, seq); !errors.Is(err, events.ErrConflict) {
		t.Errorf("after a loss: %v, want a conflict", err)
	}
}

func TestReaderIdentity(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"arn:aws:iam::111122223333:role/batch/reporting":             reporting,
		"arn:aws:sts::111122223333:assumed-role/reporting/a:b/c":     reporting,
		"arn:aws-cn:iam::111122223333:role/reporting":                "arn:aws-cn:iam::111122223333:role/reporting",
		"arn:aws:iam::111122223333:user/ops/alice":                   "arn:aws:iam::111122223333:user/ops/alice",
		"arn:aws:iam::111122223333:root":                             "arn:aws:iam::111122223333:root",
		"approle/reporting":                                          "approle/reporting",
		"arn:aws:sts::111122223333:federated-user/bob":               "arn:aws:sts::111122223333:federated-user/bob",
		"arn:aws:iam::111122223333:role/aws-service-role/x/Reporter": "arn:aws:iam::111122223333:role/Reporter",
	} {
		if got := events.ReaderIdentity(in); got != want {
			t.Errorf("ReaderIdentity(%s) = %s, want %s", in, got, want)
		}
		if again := events.ReaderIdentity(want); again != want {
			t.Errorf("ReaderIdentity(%s) = %s: it is not its own form", want, again)
		}
	}
}
