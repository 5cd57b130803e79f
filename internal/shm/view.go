package shm

import "unsafe"

// BytesOf returns the memory of s, whose elements are free of pointers.
func BytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), uintptr(len(s))*unsafe.Sizeof(*new(T)))
}

// ElementsOf returns as many elements, free of pointers and not empty, as mem holds. It is aligned for them.
func ElementsOf[T any](mem []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(len(mem))/unsafe.Sizeof(*new(T)))
}

// Contains reports whether an address lies in mem.
func Contains(mem []byte, addr uintptr) bool {
	return addr-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) < uintptr(len(mem))
}
