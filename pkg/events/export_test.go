package events

// For the tests in package events_test.
var (
	CheckServer = checkServer
	KeyID       = keyID
)
