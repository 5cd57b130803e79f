package main

import (
	"context"
	"strconv"
)

// converter turns integers into arrays of bits, with a table of their binary digits.
type converter struct{ Digits map[int]string }

func newConverter(entries int) *converter {
	c := &converter{Digits: make(map[int]string, entries)}
	for n := range entries {
		c.Digits[n] = strconv.FormatInt(int64(n), 2)
	}
	return c
}

func (c *converter) convert(n int) []byte {
	digits := c.Digits[n]
	bits := make([]byte, len(digits))
	for i := range bits {
		bits[i] = digits[i] - '0'
	}
	return bits
}

// Convert is convert as a task of a worker whose state is the converter.
func (c *converter) Convert(_ context.Context, n int) ([]byte, error) { return c.convert(n), nil }
