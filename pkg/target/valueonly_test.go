package target_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

var errNoRead = errors.New("the store was read")

// change is a change whose values cannot be read, except for a current one.
func change(policy *secret.Policy, current string) target.Change {
	none := func(context.Context) (secret.Value, error) { return secret.Value{}, errNoRead }
	c := target.Change{Spec: secret.Spec{ID: "ID", Store: "main", Policy: policy}, From: "v1", To: "v2", Current: none, Pending: none}
	if current != "" {
		c.Current = func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(current)), nil }
	}
	return c
}

// TestAValueOnlyTargetReadsAndChangesNothing: every method but Propose succeeds
// without a value, however often it is called.
func TestAValueOnlyTargetReadsAndChangesNothing(t *testing.T) {
	t.Parallel()
	v, c := target.ValueOnly{}, change(nil, "")
	for range 2 {
		ref, err := v.Apply(t.Context(), c)
		if want := (target.Ref{Secret: "ID", Version: "v2"}); err != nil || ref != want {
			t.Errorf("Apply() = %+v, %v; want %+v", ref, err, want)
		}
		if err := errors.Join(v.Verify(t.Context(), c), v.Revoke(t.Context(), ref, target.Drain{})); err != nil {
			t.Error(err)
		}
	}
}

// TestAProposalFollowsThePolicy: a value is made without a read, and a document
// keeps the fields that are not rotated.
func TestAProposalFollowsThePolicy(t *testing.T) {
	t.Parallel()
	p, err := target.ValueOnly{}.Propose(t.Context(), change(nil, ""))
	if err != nil || secret.DefaultPolicy().Check(p) != nil {
		t.Errorf("a value by the default policy: %v, broken rules %v", err, secret.DefaultPolicy().Check(p))
	}
	field := secret.DefaultPolicy()
	field.Field = "/password"
	const document = `{"username":"app","password":"before"}`
	p, err = target.ValueOnly{}.Propose(t.Context(), change(&field, document))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := p.Field("/username"); err != nil || string(name.Reveal()) != "app" {
		t.Errorf("the user name did not survive: %v", err)
	}
	if p.Equal(secret.NewValue([]byte(document))) || field.Check(p) != nil {
		t.Errorf("the password is not a fresh one: %v", field.Check(p))
	}
	if _, err := (target.ValueOnly{}).Propose(t.Context(), change(&field, "")); !errors.Is(err, errNoRead) {
		t.Errorf("err %v, want that of the read", err)
	}
}
