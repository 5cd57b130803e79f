// Package codec turns Go values into bytes and back, for two processes that
// run the same binary.
//
// Because both ends are the same program, no schema travels: [For] compiles a
// type once into a [Plan], and the bytes hold values only. A type that cannot
// cross is refused when its plan is made, naming the path of the field at
// fault, and not at the thousandth task.
//
// # Layout
//
// Numbers are in the machine's byte order, little-endian on every machine that
// Brine is built for. A length or a tag is a little-endian uint32, written u32
// below; 0xffffffff as a length means nil.
//
//	bool                  one byte, 0 or 1; any other byte is an error
//	int…, uint…, uintptr  as many bytes as in memory
//	float…, complex…      as many bytes as in memory
//	string                u32 length, the bytes
//	time.Time             int64 seconds since 1970, u32 nanoseconds, int32 offset
//	                      from UTC in seconds, or -2147483648 for UTC itself: 16
//	                      bytes. The monotonic reading does not cross. An offset
//	                      equal to the receiver's local one at that instant gives
//	                      time.Local, as in time.Time.UnmarshalBinary
//	[N]T                  N elements
//	[]T                   u32 length, then the elements. Elements without pointers
//	                      are copied as one run of memory
//	map[K]V               u32 length, then key and value in turn, in no certain
//	                      order, then zero bytes up to the floor (see below)
//	*T                    u32: 0 for nil; 1 for a new object, whose value follows;
//	                      2+i for the i-th new object of this value, counted from
//	                      0 in order of appearance. Objects of size 0 are new each
//	                      time and not counted
//	struct                its fields in order. A run of neighbouring pointer-free
//	                      fields is copied as it lies in memory, with the padding
//	                      in between (at most 8 bytes at a time, else a new run
//	                      starts); a struct that is one such run is copied whole.
//	                      Then zero bytes up to the floor
//	interface             u32: 0 for nil; 1 for a type that is new in this value,
//	                      whose registered name follows as a string; 2 for an
//	                      error sent as [RemoteError]; 3+i for the i-th name of
//	                      this value. Then the value
//	marshaler             u32 length, what MarshalBinary, GobEncode or MarshalText
//	                      gave, then zero bytes up to the floor
//	RemoteError           type and message as strings, u32 count of sentinels and
//	                      each one's key as a string, u32 length (or nil) and the
//	                      bytes of the concrete error, encoded as a value of type
//	                      error of its own
//
// Blank fields, and fields with the tag brine:"-", take no bytes; after a decode
// the latter are zero.
//
// # Floors
//
// No value is much larger in memory than it is on the wire. Structs and
// marshalers take at least an eighth of their memory, maps at least a tenth
// of the memory of a table for that many entries; what is missing is filled with
// zero bytes, whose content is not looked at. Only structs with large skipped
// fields and maps of very few, very short entries need filling. It is what lets
// the decoder allocate at most 16 times its input plus 1 MB, whatever the bytes
// are, without ever refusing a value that was encoded.
//
// # Limits
//
// Values nest at most 10,000 deep, counting pointers, slices, maps and
// interfaces. Strings, slices and maps have less than 2^32-1 elements. Two
// slices or maps that share memory arrive as two; pointers to one object, of one
// type and inside one value, arrive as pointers to one object, cycles included.
// The value that the caller points at is itself no such object.
package codec
