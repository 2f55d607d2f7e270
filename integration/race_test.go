//go:build race

package integration

// raceDetector says that the tests are built with the race detector.
const raceDetector = true
