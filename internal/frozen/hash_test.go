package frozen

import (
	"testing"
	"unsafe"
)

// published is the default secret of wyhash.
var published = secret{0x2d358dccaa6c78a5, 0x8bb84b93962eacc9, 0x4b33a62ed433d4a3, 0x4d5a2da51de1aa47}

func hashString(key string, seed uint64, s *secret) uint64 {
	return hashText(unsafe.Pointer(unsafe.StringData(key)), uint64(len(key)), mixSeed(seed, s), s)
}

// TestHashPublished compares with the vectors of wyhash's own test_vector.cpp, and of lengths around each branch with
// what the reference implementation gives.
func TestHashPublished(t *testing.T) {
	t.Parallel()
	for seed, test := range []struct {
		key  string
		want uint64
	}{
		{"", 0x93228a4de0eec5a2},
		{"a", 0xc5bac3db178713c4},
		{"abc", 0xa97f2f7b1d9b3314},
		{"message digest", 0x786d1f1df3801df4},
		{"abcdefghijklmnopqrstuvwxyz", 0xdca5a8138ad37c87},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xb9e734f117cfaf70},
		{"12345678901234567890123456789012345678901234567890123456789012345678901234567890", 0x6cc5eab49a92d617},
	} {
		if got := hashString(test.key, uint64(seed), &published); got != test.want {
			t.Errorf("%q with seed %d: %#x, want %#x", test.key, seed, got, test.want)
		}
	}
	for length, want := range map[int]uint64{
		1: 0x8e6d4af7d310c8c4, 3: 0x78c4aa0c972a522d, 4: 0xe08aeeb68058fb32, 7: 0x094e98feb6055cc6,
		8: 0xb4d6ac74d009e1d4, 16: 0x305fdea0ed4a2619, 17: 0xd29ffdd201a46f9a, 32: 0x5b00c06ef7540f8f,
		33: 0x5e1a2536ff90cc32, 47: 0xe2cb58f6ab8e4419, 48: 0xecbfb7ff9e3d9a97, 49: 0x0691f11bac523a91,
		63: 0x907220c8cff2e2c7,
	} {
		key := make([]byte, length)
		for i := range key {
			key[i] = byte(i)
		}
		if got := hashString(string(key), 0, &published); got != want {
			t.Errorf("%d bytes: %#x, want %#x", length, got, want)
		}
	}
}
