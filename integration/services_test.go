package integration

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// service is where secrets are kept, in a form that another process can be
// told. The zero value is the store that is embedded in the broker.
type service struct {
	Kind, URL string
	Token     string           // of vault, or
	Role      serverstest.Role // what logs in there
}

// services start one of each kind.
var services = map[string]func(*testing.T) service{
	"embedded": func(*testing.T) service { return service{} },
	"aws": func(t *testing.T) service {
		t.Helper()
		return service{Kind: "aws", URL: serverstest.StartMoto(t).URL}
	},
	"vault": func(t *testing.T) service {
		t.Helper()
		b := serverstest.StartBao(t)
		return service{Kind: "vault", URL: b.URL, Token: b.Root}
	},
}

func (s service) open(ctx context.Context, nc *nats.Conn, master []byte) (store.Driver, error) {
	switch s.Kind {
	case "aws":
		return awssm.New(sm.New(sm.Options{
			Region: "eu-central-1", BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		}), awssm.Config{})
	case "vault":
		auth := vault.Auth(vault.AppRole{RoleID: s.Role.ID, SecretID: s.Role.Secret})
		if s.Token != "" {
			auth = vault.Token{Token: s.Token}
		}
		return vault.Open(vault.Config{Address: s.URL, Auth: auth})
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return natskv.Open(ctx, natskv.Config{JS: js, MasterKey: master})
}
