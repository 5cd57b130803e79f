// Package frozen is the layout of a read-only hash table in one run of bytes: it is written once, mapped by many
// processes, and read where it lies. It knows nothing of how the bytes come to be shared.
//
// The table is a perfect hash: a key has one place, so a look-up has no loop and no branch that depends on what is in the
// table but the comparison of the key. That is what makes it as fast as a Go map (frozen_bench_test.go), since a
// processor goes on with the next look-up while it waits for the memory of this one. It reads a pilot, half a byte
// an entry and thus in a cache as a rule, then the slot, then the entry.
//
// # Layout
//
// Numbers are little-endian. Offsets count bytes from the beginning of the table. Header, pilots, slots and data come in
// this order; there may be unused bytes between them, and anything behind the table.
//
// The header has 128 bytes:
//
//	  0  8 bytes  "brinemap"
//	  8  u32      version, 1
//	 12  u8       kind of the keys
//	 13  u8       kind of the values
//	 14  2 bytes  0
//	 16  u64      number of entries, less than that of the slots
//	 24  u64      number of buckets, at least 1
//	 32  u64      number of slots, at least 1
//	 40  u64      offset of the pilots, even
//	 48  u64      offset of the slots, a multiple of 64
//	 56  u64      offset of the data
//	 64  u64      size of the table, at most 2^48
//	 72  u64      key of empty slots, if keys are numbers
//	 80  4 u64    secret s[0] to s[3], random
//	112  16 bytes 0
//
// Kinds are 1 int8, 2 int16, 3 int32, 4 int64, 5 uint8, 6 uint16, 7 uint32, 8 uint64, 9 float32, 10 float64, 11 bool,
// 12 string, 13 bytes. Keys are no floats and no bools. Go's int is of the kind of its size, uint and uintptr likewise.
// Kinds 12 and 13 are long, the others are numbers. The word of a number is its bits as a u64, with zeros above them.
//
// A pilot is a u16, one a bucket. A slot is two u64 if keys are numbers: the word of the key, and the word of the
// value. If keys are long it is one u64: the offset of an entry in the low 48 bits, and in the high 16 bits a tag, which
// is the low 16 bits of the key's hash. An empty slot has the key of empty slots, or is 0.
//
// If keys are long, the data is one entry after the other, without gaps:
//
//	u32   length of the key
//	      the value, if it is a number, in as many bytes as its kind has; else a u32, the length of the value
//	      the bytes of the key
//	      the bytes of the value, if it is long
//
// If keys are numbers and values are long, the second word of a slot is the offset of the value's bytes in the low 48
// bits and their number in the high 16 bits. If that is 65535, a u32 with their number is at the offset, and they
// follow it. If both are numbers, there is no data.
//
// # Places
//
// A product is of 128 bits; lo and hi are its halves, and mix(a, b) = lo(a*b) xor hi(a*b). For a key with hash h:
//
//	bucket = hi(h * number of buckets)
//	slot   = hi(mix(h xor s[2], pilot of the bucket xor s[3]) * number of slots)
//
// The key is in that slot or nowhere. A reader compares the tag, then length and bytes, or the word, which must not be
// the key of empty slots: that is no key of the table.
//
// The hash of a long key is wyhash, final version 4.3 (github.com/wangyi-fudan/wyhash), with seed 0 and the secret of
// the header. The hash of a number is wyhash64 of the same source, of the word of the key and 0:
//
//	p = (word xor s[0]) * s[1]
//	h = mix(lo(p) xor s[0], hi(p) xor s[1])
//
// With wyhash's default secret, 251 buckets, 1032 slots and 7 as the pilot:
//
//	key                       hash                bucket  slot
//	"abc"                     0x989b4a209c1011c9     149     1
//	"brine-" eight times      0x494a55c61d14f782      71   154
//	1                         0x8fd90e7337ab042d     141   494
//	-1 as an int8, word 0xff  0x2daa2ab49fb10d50      44    76
//
// # Size
//
// There is a bucket for four entries, and a slot in 33 is empty: 16.75 bytes an entry, its key and its value for a
// table from strings to strings, 12.75 bytes, key and number for strings to numbers, 17 bytes and the value for
// numbers to strings, and 17 bytes for numbers to numbers. Keys and values have less than 4 GiB each.
//
// # Trust
//
// Whatever the bytes are, a reader stays inside them and comes to an end: Open compares the sections with the size, the
// functions above stay below the number of buckets and slots, and what a slot or an entry says of offset and length is
// compared with the size before it is used. A damaged table has wrong entries, or misses some.
package frozen
