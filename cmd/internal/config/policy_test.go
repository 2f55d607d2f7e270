package config_test

import (
	"reflect"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestPolicies(t *testing.T) {
	c := parse(t, `
stores: {m: {type: natskv}}
policies:
  full:
    min_length: 12
    max_length: 99
    length: 64
    classes: [upper, digit]
    alphabet: ABC123
    symbols: "-_"
    exclude: B
    field: /password
  hex: {encoding: hex, bytes: 16}
  any: {classes: []}
secrets:
  - {id: by-name, policy: full}
  - {id: bytes, policy: hex}
  - {id: no-class-is-not-every-class, policy: any}
  - {id: in-place, policy: {encoding: uuid}}
  - {id: default}
`)
	specs, err := c.Specs()
	if err != nil {
		t.Fatal(err)
	}
	want := []*secret.Policy{
		{
			MinLength: 12, MaxLength: 99, Length: 64, Classes: []secret.Class{secret.ClassUpper, secret.ClassDigit},
			Alphabet: "ABC123", Symbols: "-_", Exclude: "B", Encoding: secret.EncodingText, Field: "/password",
		},
		{MinLength: 16, Encoding: secret.EncodingHex, Bytes: 16},
		{MinLength: 16, Encoding: secret.EncodingText, Classes: []secret.Class{}},
		{MinLength: 16, Encoding: secret.EncodingUUID},
		nil,
	}
	for i, s := range specs {
		if !reflect.DeepEqual(s.Policy, want[i]) {
			t.Errorf("%s has %+v, want %+v", s.ID, s.Policy, want[i])
		}
	}
}

// A policy that says nothing is the default one: naming it changes no token, so
// that it starts no second rotation.
func TestAnEmptyPolicyIsTheDefault(t *testing.T) {
	specs, err := parse(t, "stores: {m: {type: natskv}}\nsecrets: [{id: a, policy: {}}]").Specs()
	if err != nil || specs[0].Policy.Hash() != secret.DefaultPolicy().Hash() {
		t.Errorf("got %+v, %v", specs[0].Policy, err)
	}
}
