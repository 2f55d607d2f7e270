package events

// Request says who asked for a rotation and how urgent it is. It is present in
// TypeNearExpiry when an operator or a program asked, and in
// TypeRotationFailed after that.
type Request struct {
	// By is the person or program that asked.
	By string `json:"by,omitempty"`
	// Ticket is the requester's own reference, such as an incident.
	Ticket string `json:"ticket,omitempty"`
	// Priority says how urgent it is.
	Priority Priority `json:"priority,omitempty"`
}

// Priority says how urgent a rotation is. The zero value is the normal one.
type Priority string

// PriorityEmergency is that of a rotation whose current value has leaked.
const PriorityEmergency Priority = "emergency"

// valid reports whether the request fits into an event. A nil one does.
func (r *Request) valid() bool {
	return r == nil || len(r.By)+len(r.Ticket)+len(r.Priority) <= maxText
}
