//go:build !cgo

package faulty

var bugsInC []Bug
