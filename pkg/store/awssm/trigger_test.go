package awssm_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestTrigger: of a secret without a function moto itself makes the new version
// and promotes it at once. AWS refuses; its answers are given in its place.
func TestTrigger(t *testing.T) {
	t.Parallel()
	front := serverstest.StartProxy(t, serverstest.StartMoto(t).URL)
	d := newDriver(t, front.URL, root)
	v1 := rotate(t, d, "triggered", 1, "")
	token := secret.NewToken("triggered", v1, "policy", 0)
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"another rotation has not ended": {`{"__type":"InvalidRequestException","Message":"A previous rotation isn't complete. That rotation will be reattempted."}`, store.ErrPending},
		"no function is configured":      {`{"__type":"InvalidRequestException","Message":"You must configure a Lambda rotation function."}`, store.ErrInvalid},
		"marked for deletion":            {`{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}`, store.ErrNotFound},
		"no permission":                  {denial, store.ErrAccessDenied},
		"too many calls":                 {`{"__type":"ThrottlingException","Message":"Rate exceeded"}`, store.ErrThrottled},
	} {
		front.Inject(1, nil, serverstest.Answer(http.StatusBadRequest, c.answer))
		if err := d.Trigger(t.Context(), "triggered", token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if got := describe(t, d, "triggered"); got != v1 {
		t.Fatalf("current is %s after refusals, want %s", got, v1)
	}
	// moto takes AWSPENDING on the current version for a rotation that runs.
	if _, err := client(front.URL, root).UpdateSecretVersionStage(t.Context(), &sm.UpdateSecretVersionStageInput{
		SecretId: aws.String("triggered"), VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: aws.String(string(v1)),
	}); err != nil {
		t.Fatal(err)
	}
	front.Take()
	if err := d.Trigger(t.Context(), "triggered", token); err != nil {
		t.Fatal(err)
	}
	if calls := front.Take(); len(calls) != 1 {
		t.Errorf("it made the calls %v, want 1", calls)
	}
	m, err := d.Describe(t.Context(), "triggered")
	if err != nil || m.Current().ID != secret.VersionID(token) || m.Current().Token != token {
		t.Errorf("current is %s with the token %s, err %v; want %s", m.Current().ID, m.Current().Token, err, token)
	}
	if err := d.Trigger(t.Context(), "triggered", "short"); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a short token: %v, want that it is invalid", err)
	}
}
