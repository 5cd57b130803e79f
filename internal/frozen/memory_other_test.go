//go:build !linux

package frozen

import "testing"

func shared(_ testing.TB, n int64) []byte { return make([]byte, n) }

func guard(_ testing.TB, n int) []byte { return make([]byte, n) }
