package gate

import (
	"errors"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The codes of violations, besides the rules of [secret.ViolationError].
const (
	// CodeMissing: there is no value.
	CodeMissing secret.FindingCode = "missing"
	// CodeUnreadable: whether there is a value is not known.
	CodeUnreadable secret.FindingCode = "unreadable"
	// CodeTTL: too little is left of its life.
	CodeTTL secret.FindingCode = "ttl"
	// CodeTTLInvalid: what is recorded of its lifetime makes no sense.
	CodeTTLInvalid secret.FindingCode = "ttl_invalid"
)

// violation returns the finding about one thing that is wrong with a secret.
func violation(id secret.ID, code secret.FindingCode, message, remedy string) secret.Finding {
	return secret.Finding{Code: code, Severity: secret.SeverityError, Subject: string(id), Message: message, Remedy: remedy}
}

// Line returns a violation in one line, with its code.
func Line(f secret.Finding) string {
	return f.Subject + ": " + string(f.Code) + ": " + f.Message + "; " + f.Remedy
}

// unreadable says what to do about a secret that cannot be read.
func unreadable(id secret.ID, err error) secret.Finding {
	v := violation(id, CodeUnreadable, oneLine(err), "see the error; nothing else could be checked")
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
		v.Remedy = "let the principal that runs the check read it"
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrThrottled):
		v.Remedy = "see whether the store can be reached from here, and try again"
	}
	return v
}

func lifetime(id secret.ID, err error) secret.Finding {
	return violation(id, CodeTTLInvalid, oneLine(err), "correct it, or remove it where the value shall have no end")
}

// oneLine is for the errors of SDKs that spread over several.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
