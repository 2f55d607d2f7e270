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

// A value shows nothing, however it is printed.
func ExampleValue() {
	v := secret.NewValue([]byte("correct horse"))
	fmt.Println(v, v.Len(), v.Equal(secret.NewValue([]byte("correct horse"))))
	fmt.Printf("%s %v %+v %#v %x %q\n", v, v, v, v, v, v)
	fmt.Println(string(v.Reveal()))
	// Output:
	// [redacted] 13 true
	// [redacted] [redacted] [redacted] [redacted] [redacted] [redacted]
	// correct horse
}

// One field of a secret that is a document.
func ExampleValue_Field() {
	v := secret.NewValue([]byte(`{"user": "app", "password": "old"}`))
	password, err := v.Field("/password")
	fmt.Println(string(password.Reveal()), err)
	_, err = v.Field("/port")
	fmt.Println(err)
	// Output:
	// old <nil>
	// field /port: the document has no string there
}

// However often it is tried, one rotation has one token.
func ExampleNewToken() {
	spec := secret.Spec{ID: "prod/db", Store: "main"}
	first, again := spec.Token("7", 0), spec.Token("7", 0)
	fmt.Println(first == again, first == spec.Token("8", 0))
	fmt.Println(spec.Made("7", spec.Token("7", 1)), spec.Made("8", spec.Token("7", 1)))
	// Output:
	// true false
	// true false
}

func ExampleMetadata() {
	m := secret.Metadata{Versions: []secret.Version{{ID: "7", Stage: secret.StagePrevious}, {ID: "8", Stage: secret.StageCurrent}}}
	_, pending := m.At(secret.StagePending)
	fmt.Println(m.Current().ID, pending)
	// Output: 8 false
}

func ExampleParseWindow() {
	w, err := secret.ParseWindow("0 2 * * SAT", "Europe/Berlin", 3*time.Hour)
	if err != nil {
		panic(err)
	}
	at, ok := secret.NextOpen([]secret.Window{w}, time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	fmt.Println(at.UTC().Format(time.RFC3339), ok)
	// Output: 2026-03-07T01:00:00Z true
}

func ExampleParseTTLSeconds() {
	for _, text := range []string{"3600", "0", "soon"} {
		d, err := secret.ParseTTLSeconds(text)
		fmt.Println(d, err)
	}
	// Output:
	// 1h0m0s <nil>
	// 0s is not a whole number of seconds from 1 to 316224000
	// 0s is not a whole number of seconds from 1 to 316224000
}
