package eventbridge

// For the tests in package eventbridge_test.
var NewDetail = newDetail
