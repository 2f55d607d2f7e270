package eventbridge

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	smithy "github.com/aws/smithy-go"

	"github.com/tradepulse/rotator/pkg/events"
)

// EntryError is AWS's refusal of one entry.
type EntryError struct {
	// Code is AWS's own, such as ThrottlingException.
	Code string
	// Message is for people, at most maxMessage bytes of it.
	Message string
}

const maxMessage = 256

// Error implements error.
func (e *EntryError) Error() string { return fmt.Sprintf("refused: %s: %s", e.Code, e.Message) }

// refusal returns the error of a result, nil for an entry that was taken. What
// AWS will never take is permanent. A lack of permission is not: it is mended
// by a person while the event waits.
func refusal(r types.PutEventsResultEntry) error {
	code := aws.ToString(r.ErrorCode)
	if code == "" {
		return nil
	}
	err := &EntryError{Code: code, Message: short(aws.ToString(r.ErrorMessage))}
	switch code {
	case "MalformedDetail", "InvalidArgument", "RedactionFailure":
		return events.Permanent(err)
	default:
		return err
	}
}

func short(s string) string { return s[:min(len(s), maxMessage)] }

// invalidRequest reports whether AWS refused a request for what is in it, and
// the code of that.
func invalidRequest(err error) (code string, ok bool) {
	api, is := errors.AsType[smithy.APIError](err)
	if !is {
		return "", false
	}
	switch code = api.ErrorCode(); code {
	case "ValidationException", "ValidationError", "SerializationException", "InvalidParameterValue", "InvalidParameterCombination", "RequestEntityTooLarge":
		return code, true
	}
	return "", false
}

// transient reports whether the next attempt may succeed by itself: AWS names
// those that may not.
func transient(err error) bool {
	if e, ok := errors.AsType[*EntryError](err); ok {
		switch e.Code {
		case "AccessDeniedException", "NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException", "InvalidAccountIdException":
			return false
		}
	}
	return !events.IsPermanent(err)
}
