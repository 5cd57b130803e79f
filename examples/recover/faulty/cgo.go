//go:build cgo

package faulty

/*
#include <stdlib.h>
static void write_to_null(void) { volatile int *p = 0; *p = 1; }
static void give_up(void) { abort(); }
*/
import "C"

var bugsInC = []Bug{
	{"segmentation fault in C", SegfaultInC},
	{"abort in C", AbortInC},
}

// SegfaultInC calls C that follows a null pointer.
func SegfaultInC() { C.write_to_null() }

// AbortInC calls C that found an assertion of its own to be wrong.
func AbortInC() { C.give_up() }
