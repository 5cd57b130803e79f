package pickle

import (
	"encoding/binary"
	"math/bits"
)

// Sums start from a constant for each kind of content.
const (
	seedInt uint64 = 0x9e3779b97f4a7c15 - iota<<20
	seedLong
	seedFloat
	seedStr
	seedBytes
	seedByteArray
	seedBuffer
	seedGlobal
	seedPersistent
	seedExtension
	seedTuple
	seedList
	seedDict
	seedSet
	seedFrozenSet
	seedCall
	seedNew
	seedState
	seedAppend
	seedPair
	seedKeywords
	seedNone
	seedTrue
	seedFalse
)

const (
	prime1 = 0xa0761d6478bd642f
	prime2 = 0xe7037ed1a0b428db
	prime3 = 0x8ebc6af09c88c6e3
)

// mix combines two numbers, in this order, as wyhash does: one multiplication to 128 bits, folded.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^prime1, b^prime2)
	return hi ^ lo ^ a<<1 // a product with zero must not forget the other
}

// hashBytes is wyhash's idea, without its details: 16 bytes a multiplication.
func hashBytes(seed uint64, b []byte) uint64 {
	h := mix(seed, uint64(len(b))^prime3)
	for len(b) >= 16 {
		h = mix(h^binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
		b = b[16:]
	}
	if len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), prime3)
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		h = mix(h^binary.LittleEndian.Uint64(last[:]), seed)
	}
	return h
}
