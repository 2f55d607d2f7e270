package config

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/target/awsiam"
)

// AWSIAM is AWS IAM, in one account, the access keys of whose users are rotated. It is
// proven on an emulator only.
type AWSIAM struct {
	// How AWS is reached. The credentials are those of the admin: a role, or a user whose
	// keys are not rotated here. The endpoint is that of an emulator.
	settings.AWS
	// How long a change may take to reach every endpoint of AWS.
	Lag Duration `json:"lag,omitzero" default:"1m"`
	// How long a use of a key may take to show in IAM. A retirement waits so much longer
	// than the grace period.
	UseLag Duration `json:"use_lag,omitzero" default:"4h"`
}

// Type returns awsiam.
func (*AWSIAM) Type() string { return "awsiam" }

func (*AWSIAM) blind(SecretTarget) bool { return false }

// policy is that of a secret key, whatever the configuration says: IAM makes it, and AWS
// promises little about it.
func (*AWSIAM) policy(*secret.Policy) *secret.Policy {
	return &secret.Policy{Field: awsiam.FieldSecret, Classes: []secret.Class{}}
}

func (o *AWSIAM) check(k *checker, at []string) {
	if time.Duration(o.UseLag) < time.Hour {
		k.warn(append(at, "use_lag"), "AWS does not say how soon IAM shows a use; a key may be deleted that is in use", "remove it, for 4h")
	}
}

func (*AWSIAM) checkSecret(k *checker, at []string, s Secret) {
	t := s.Target
	if t.Owner != "" || t.Strategy != "" {
		k.report(at, "owner and strategy are for databases", "remove them; a user has two keys")
	}
	if t.Drain != "" && t.Drain != string(secret.DrainWait) {
		k.report(append(at, "drain"), "a key has no sessions that could be ended", "remove it")
	}
	if err := awsiam.CheckNames(t.User, secret.ID(s.ID)); err != nil {
		k.report(append(at, "user"), err.Error(), "give the name of the IAM user, without the path")
	}
}
