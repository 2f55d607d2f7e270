package secret

// A Finding is one thing that is wrong with a secret, or with a setting for
// secrets, and what to do about it. None of its fields contains any part of a
// value.
type Finding struct {
	// Code is a constant name, for machines. The package that makes the finding
	// declares it.
	Code     FindingCode `json:"code"`
	Severity Severity    `json:"severity"`
	// Subject is what the finding is about, such as the ID of a secret, a tag or
	// a setting. It is "" where the context of the finding says so already.
	Subject string `json:"subject,omitempty"`
	// Message says what is wrong. It is a clause without a full stop.
	Message string `json:"message"`
	// Remedy says what to do. It is "" where the message says so already.
	Remedy string `json:"remedy,omitempty"`
}

// FindingCode names a kind of finding, such as min_length.
type FindingCode string

// Severity says what follows from a [Finding].
type Severity string

// The severities.
const (
	// SeverityError: the subject does not work, or must not be used, until this is
	// corrected.
	SeverityError Severity = "error"
	// SeverityWarning: it works, but probably not as its owner expects.
	SeverityWarning Severity = "warning"
)

// String returns subject: message; remedy, without those that are empty. For
// the code, see the field.
func (f Finding) String() string {
	s := f.Message
	if f.Subject != "" {
		s = f.Subject + ": " + s
	}
	if f.Remedy != "" {
		s += "; " + f.Remedy
	}
	return s
}
