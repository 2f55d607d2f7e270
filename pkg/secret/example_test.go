package secret_test

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

func ExamplePolicy() {
	policy := secret.Policy{Length: 40, Exclude: "0O1lI"}
	v, err := policy.Generate(nil)
	fmt.Println(v, v.Len(), err, policy.Check(v))

	fmt.Println(policy.Check(secret.NewValue([]byte("too-short-a-value"))))
	fmt.Println(secret.Policy{Exclude: "0123456789"}.Validate())
	// Output:
	// [redacted] 40 <nil> <nil>
	// the value breaks its policy: add an upper-case letter; add a digit; use none of the characters that the policy excludes
	// invalid policy: class digit is required and alphabet and exclude leave no character of it
}

// A secret that is a JSON document keeps everything but the field.
func ExamplePolicy_Next() {
	policy := secret.Policy{Field: "/password", Encoding: secret.EncodingUUID}
	next, err := policy.Next(nil, secret.NewValue([]byte(`{"user": "app", "password": "old"}`)))
	fmt.Println(string(next.Reveal()[:28]), err)
	// Output: {"user": "app", "password":  <nil>
}

func ExampleSpec_RotateAt() {
	night, err := secret.ParseWindow("0 2 * * SAT", "Europe/Berlin", 3*time.Hour)
	if err != nil {
		panic(err)
	}
	spec := secret.Spec{ID: "prod/db", Store: "main", TTL: 30 * 24 * time.Hour, RefreshMargin: time.Hour, Windows: []secret.Window{night}}
	meta := secret.Metadata{Versions: []secret.Version{{ID: "7", Stage: secret.StageCurrent, CreatedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}}}

	at, err := spec.RotateAt(meta)
	fmt.Println(at.Format("Monday, 2 January 15h"), err)
	// Output: Saturday, 28 March 03h <nil>
}

func ExampleID_Key() {
	id := secret.ID("prod/db")
	fmt.Println(id.Key())
	back, err := secret.IDFromKey("prod=2Fdb")
	fmt.Println(back, err)
	// Output:
	// prod=2Fdb
	// prod/db <nil>
}
