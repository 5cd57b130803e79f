//go:build race

package link

const raceDetector = true // starting a child takes ten times as long
