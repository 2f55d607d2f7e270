package gate

import (
	"errors"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The codes of violations, besides the rules of [secret.Violation].
const (
	// CodeMissing: there is no value.
	CodeMissing = "missing"
	// CodeUnreadable: whether there is a value is not known.
	CodeUnreadable = "unreadable"
	// CodeTTL: too little is left of its life.
	CodeTTL = "ttl"
	// CodeTTLInvalid: what is recorded of its lifetime makes no sense.
	CodeTTLInvalid = "ttl_invalid"
)

// Violation is one thing that is wrong with a secret.
type Violation struct {
	ID secret.ID `json:"id"`
	// Code is a constant name: one of the codes of this package, or a rule of
	// [secret.Violation] such as min_length.
	Code string `json:"code"`
	// Problem says what is wrong and Remedy what to do. Neither has anything of
	// a value in it.
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// String returns the violation in one line.
func (v Violation) String() string {
	return string(v.ID) + ": " + v.Code + ": " + v.Problem + "; " + v.Remedy
}

// unreadable says what to do about a secret that cannot be read.
func unreadable(id secret.ID, err error) Violation {
	v := Violation{ID: id, Code: CodeUnreadable, Problem: oneLine(err), Remedy: "see the error; nothing else could be checked"}
	own, knows := errors.AsType[interface {
		error
		Remedy() string
	}](err)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoValue):
		if v.Code, v.Remedy = CodeMissing, "write a value there, or correct where it is looked for"; knows {
			v.Remedy = own.Remedy()
		}
	case errors.Is(err, store.ErrAccessDenied):
		v.Remedy = "let whoever runs the check read it"
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrThrottled):
		v.Remedy = "see whether the store can be reached from here, and try again"
	}
	return v
}

func lifetime(id secret.ID, err error) Violation {
	return Violation{id, CodeTTLInvalid, oneLine(err), "correct it, or remove it where the value shall have no end"}
}

// oneLine is for the errors of SDKs that spread over several.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
