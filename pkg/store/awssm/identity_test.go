package awssm_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

func TestIdentity(t *testing.T) { //nolint:paralleltest // it sets the environment
	moto := serverstest.StartMoto(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", moto.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	d, err := awssm.Open(t.Context(), awssm.Config{Region: "us-east-1", Endpoint: moto.URL})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Identity(t.Context()); err != nil || !strings.HasPrefix(got, "arn:aws:sts::123456789012:") {
		t.Errorf("Identity() = %q, %v", got, err)
	}
}
