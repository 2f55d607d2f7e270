package view

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
)

// TestStatusShowsWhyARotationIsTriedAgain: the failure is a line of its own, word
// for word, and the table keeps the time of the next try.
func TestStatusShowsWhyARotationIsTriedAgain(t *testing.T) {
	t.Parallel()
	const why = "the store closed the connection after: 3 s; it is tried again after: a while, or after an operator has looked at it"
	var out strings.Builder
	err := Status(&out, []inspect.Secret{{
		SecretID: "orders/db", Store: "main", Reason: scheduler.ReasonRetrying, Message: "try 3 in 5s",
		Failure: &events.Failure{Step: "verify", Code: events.CodeRejected, Message: why},
	}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "try 3 in 5s ") || !strings.Contains(got, "\n  orders/db is tried again after: "+why+"\n") {
		t.Errorf("status prints\n%s", got)
	}
}

func TestStatusShowsASuspension(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, s := range map[string]inspect.Secret{
		"DB: the version before is suspended until 2026-01-02T03:04:05Z":                                    {SecretID: "DB", SuspendedUntil: at},
		"DB: the version before was used while it was suspended, and has come back at 2026-01-02T03:04:05Z": {SecretID: "DB", Resumed: &events.Resumed{At: at}},
	} {
		var out strings.Builder
		if err := Status(&out, []inspect.Secret{s}, at); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v, status prints\n%s\nwant %s", err, &out, want)
		}
	}
}
