//go:build race

package conformance

const raceDetector = true // starting a child takes ten times as long
