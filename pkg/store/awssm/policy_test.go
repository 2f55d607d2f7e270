package awssm_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// statement is one of the policy that the deployment uses.
type statement struct {
	Sid, Effect string
	Action      actions
	Resource    string
}

type actions []string

func (a *actions) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		*a = make(actions, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

type policy struct {
	Version   string
	Statement []statement
}

func (p policy) without(t *testing.T, action string) string {
	t.Helper()
	var out policy
	out.Version = p.Version
	for _, s := range p.Statement {
		s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == action })
		if len(s.Action) > 0 {
			out.Statement = append(out.Statement, s)
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPolicyIsEnoughAndNotMore runs all that the driver does under the policy of
// the deployment, then without each of its actions.
func TestPolicyIsEnoughAndNotMore(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../deployments/aws/rotator-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var p policy
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	for i := range p.Statement {
		p.Statement[i].Resource = "*" // moto checks actions and knows no resource but this
	}
	moto := serverstest.StartMoto(t)
	keys := map[string]serverstest.Key{"": moto.User(t, "all", p.without(t, ""))}
	for _, s := range p.Statement {
		for _, a := range s.Action {
			if a != "secretsmanager:TagResource" { // moto asks for it with no call; AWS does where a secret is made with tags
				keys[a] = moto.User(t, "lacks-"+a[len("secretsmanager:"):], p.without(t, a))
			}
		}
	}
	moto.Enforce(t)
	for lacking, key := range keys {
		err := everything(t, func() *awssm.Driver { return newDriver(t, moto.URL, key) }, "policy/lacks-"+lacking)
		switch {
		case lacking == "" && err != nil:
			t.Errorf("the policy is not enough: %v", err)
		case lacking != "" && !errors.Is(err, store.ErrAccessDenied):
			t.Errorf("without %s: %v, want access denied", lacking, err)
		}
	}
}

// everything does what a program does with the driver, until something fails.
func everything(t *testing.T, process func() *awssm.Driver, path string) error {
	t.Helper()
	d := process()
	for _, err := range d.List(t.Context()) {
		if err != nil {
			return err
		}
	}
	v1, err := d.Put(t.Context(), path, write(path, 1, ""))
	if err != nil {
		return err
	}
	if err := d.Promote(t.Context(), path, "", v1.ID); err != nil {
		return err
	}
	v2, err := d.Put(t.Context(), path, write(path, 2, v1.ID))
	if err != nil {
		return err
	}
	if err := d.Promote(t.Context(), path, v1.ID, v2.ID); err != nil {
		return err
	}
	if _, _, err := d.Get(t.Context(), path, store.Selector{}); err != nil {
		return err
	}
	if err := d.Retire(t.Context(), path, v1.ID, ""); err != nil {
		return err
	}
	// moto takes AWSPENDING on the current version for a rotation that runs.
	if err := d.Trigger(t.Context(), path, secret.NewToken("policy", "", "", 0)); err != nil && !errors.Is(err, store.ErrPending) {
		return err
	}
	// A process that repeats what another has written asks for its date.
	_, err = process().Put(t.Context(), path, write(path, 2, v1.ID))
	return err
}
