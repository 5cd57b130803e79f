package frozen

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// secret makes the hashes of a table unpredictable, so that nobody can choose keys that collide. The published constants
// of wyhash would not do: whoever knows them finds keys that collide for every seed.
type secret [4]uint64

// hashText is wyhash, final version 4, by Wang Yi (github.com/wangyi-fudan/wyhash, in the public domain), of a seed that
// has gone through mixSeed. The pointer is to n bytes.
func hashText(p unsafe.Pointer, n uint64, seed uint64, s *secret) uint64 {
	var a, b uint64
	switch {
	case n > 16:
		at := uint64(0) // and not a pointer that moves: it would be one behind the key, which the collector may take for another
		if n >= 48 {
			seed1, seed2 := seed, seed
			for ; n-at >= 48; at += 48 {
				seed = mix(load64(p, at)^s[1], load64(p, at+8)^seed)
				seed1 = mix(load64(p, at+16)^s[2], load64(p, at+24)^seed1)
				seed2 = mix(load64(p, at+32)^s[3], load64(p, at+40)^seed2)
			}
			seed ^= seed1 ^ seed2
		}
		for ; n-at > 16; at += 16 {
			seed = mix(load64(p, at)^s[1], load64(p, at+8)^seed)
		}
		a, b = load64(p, n-16), load64(p, n-8)
	case n >= 4:
		middle := n >> 3 << 2
		a = load32(p, 0)<<32 | load32(p, middle)
		b = load32(p, n-4)<<32 | load32(p, n-4-middle)
	case n > 0:
		a = load8(p, 0)<<16 | load8(p, n>>1)<<8 | load8(p, n-1)
	}
	b, a = bits.Mul64(a^s[1], b^seed)
	return mix(a^s[0]^n, b^s[1])
}

func mixSeed(seed uint64, s *secret) uint64 { return seed ^ mix(seed^s[0], s[1]) }

// hashWord is the function wyhash64 of the same source, of k and 0.
func hashWord(k uint64, s *secret) uint64 {
	hi, lo := bits.Mul64(k^s[0], s[1])
	return mix(lo^s[0], hi^s[1])
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// The loads are of bytes at any address; the compiler makes one instruction of each where the machine has it.

func load64(p unsafe.Pointer, at uint64) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(p, int(at)))[:])
}

func load32(p unsafe.Pointer, at uint64) uint64 {
	return uint64(binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(p, int(at)))[:]))
}

func load16(p unsafe.Pointer, at uint64) uint64 {
	return uint64(binary.LittleEndian.Uint16((*[2]byte)(unsafe.Add(p, int(at)))[:]))
}

func load8(p unsafe.Pointer, at uint64) uint64 { return uint64(*(*byte)(unsafe.Add(p, int(at)))) }
