package frozen

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unsafe"
)

// builder is a table that is being written: first the data, in the order of the entries, then pilots and slots, and last
// the header, so that a half-written table is none.
type builder struct {
	header
	mem     []byte
	end     uint64 // of the data so far
	count   uint64
	numbers []numbered // of keys that are numbers
}

// numbered is an entry whose key is a number, as its slot will have it.
type numbered struct{ key, word uint64 }

// room returns where n more bytes of data are.
func (b *builder) room(n uint64) (data []byte, err error) {
	if b.count == b.entries || n > b.size-b.end {
		return nil, errChanged
	}
	b.count++
	data = b.mem[b.end:][:n]
	b.end += n
	return data, nil
}

// addText adds an entry with a long key.
func (b *builder) addText(key, value string, number uint64) error {
	if uint64(len(key)) > maxText || uint64(len(value)) > maxText {
		return errChanged
	}
	entry, err := b.room(b.dataOf(uint64(len(key)), uint64(len(value))))
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(entry, uint32(len(key)))
	if b.value.long() {
		number = uint64(len(value))
	}
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], number)
	head := b.entryHead()
	copy(entry[4:head], bytes[:])
	copy(entry[head:], key)
	copy(entry[head+uint64(len(key)):], value)
	return nil
}

// addNumber adds an entry whose key is a number.
func (b *builder) addNumber(key uint64, value string, number uint64) error {
	if uint64(len(value)) > maxText {
		return errChanged
	}
	at, n := b.end, uint64(len(value))
	data, err := b.room(b.dataOf(0, n))
	if err != nil {
		return err
	}
	if b.value.long() {
		number = at | min(n, longRef)<<offsetBits
		if n >= longRef {
			binary.LittleEndian.PutUint32(data, uint32(n))
			data = data[4:]
		}
		copy(data, value)
	}
	if b.numbers == nil {
		b.numbers = make([]numbered, 0, b.entries)
	}
	b.numbers = append(b.numbers, numbered{key, number})
	return nil
}

// entriesHashed calls do for every entry, in the order of the data.
func (b *builder) entriesHashed(do func(hash, at uint64, key string, n numbered)) {
	for _, n := range b.numbers {
		do(hashWord(n.key, &b.secret), 0, "", n)
	}
	if !b.key.long() {
		return
	}
	seed := mixSeed(0, &b.secret)
	for at := b.data; at < b.end; {
		entry := b.mem[at:]
		size := uint64(binary.LittleEndian.Uint32(entry))
		key := entry[b.entryHead():][:size]
		p := unsafe.SliceData(key)
		do(hashText(unsafe.Pointer(p), size, seed, &b.secret), at, unsafe.String(p, size), numbered{})
		var value uint64
		if b.value.long() {
			value = uint64(binary.LittleEndian.Uint32(entry[4:]))
		}
		at += b.dataOf(size, value)
	}
}

// index writes pilots and slots. There are no pilots if two keys have the same hash; with another secret they don't.
func (b *builder) index(random func() uint64) error {
	b.empty = random()
	for slices.ContainsFunc(b.numbers, func(n numbered) bool { return n.key == b.empty }) {
		b.empty = random()
	}
	hashes := make([]uint64, 0, b.entries)
	for range 100 {
		for i := range b.secret {
			b.secret[i] = random()
		}
		hashes = hashes[:0]
		b.entriesHashed(func(hash, _ uint64, _ string, _ numbered) { hashes = append(hashes, hash) })
		slices.Sort(hashes) // by bucket, that is
		if ok, twin := b.findPilots(hashes); ok {
			b.writeSlots()
			return nil
		} else if err := b.twice(twin); err != nil {
			return err
		}
	}
	return errors.New("brine: freezing a map: no table was found with 100 random seeds")
}

// twice returns an error if one of the keys with this hash comes twice.
func (b *builder) twice(twin uint64) (err error) {
	seen := make(map[twiceError]bool)
	b.entriesHashed(func(hash, _ uint64, key string, n numbered) {
		if hash != twin {
			return
		}
		e := twiceError{key, n.key}
		if seen[e] {
			err = &twiceError{strings.Clone(key), n.key} // the memory may be gone when the error is read
		}
		seen[e] = true
	})
	return err
}

// findPilots writes a pilot for every bucket, so that no two of the hashes, which are sorted, share a slot. The largest
// buckets come first, as long as there is room (compress, hash and displace, by Belazzougui, Botelho and Dietzfelbinger,
// 2009). If it fails, two hashes are the same, as a rule, and that one is returned.
func (b *builder) findPilots(hashes []uint64) (ok bool, twin uint64) {
	taken := make([]uint64, b.slots/64+1)
	var places []uint64
	for _, bucket := range b.bySize(hashes) {
		keys := hashes[bucket.start:][:bucket.size]
		for i := 1; i < len(keys); i++ {
			if keys[i] == keys[i-1] {
				return false, keys[i]
			}
		}
		pilot := uint64(0)
		for ; ; pilot++ {
			if pilot == 1<<(8*pilotSize) {
				return false, keys[0]
			}
			places = places[:0]
			for _, hash := range keys {
				slot := b.slotOf(hash, pilot)
				if taken[slot/64]>>(slot%64)&1 != 0 {
					break
				}
				taken[slot/64] |= 1 << (slot % 64)
				places = append(places, slot)
			}
			if len(places) == len(keys) {
				break
			}
			for _, slot := range places {
				taken[slot/64] &^= 1 << (slot % 64)
			}
		}
		binary.LittleEndian.PutUint16(b.mem[b.pilots+pilotSize*b.bucketOf(keys[0]):], uint16(pilot))
	}
	return true, 0
}

// run is where the hashes of a bucket are.
type run struct{ start, size uint64 }

// bySize returns the buckets that are not empty, the largest first.
func (b *builder) bySize(hashes []uint64) []run {
	runs := make([]run, 0, min(b.buckets, b.entries))
	for i := 0; i < len(hashes); {
		start, bucket := i, b.bucketOf(hashes[i])
		for i < len(hashes) && b.bucketOf(hashes[i]) == bucket {
			i++
		}
		runs = append(runs, run{uint64(start), uint64(i - start)})
	}
	slices.SortStableFunc(runs, func(x, y run) int { return int(y.size) - int(x.size) })
	return runs
}

func (b *builder) writeSlots() {
	le := binary.LittleEndian
	if !b.key.long() {
		for at := b.table; at < b.data; at += 16 {
			le.PutUint64(b.mem[at:], b.empty)
		}
	}
	b.entriesHashed(func(hash, at uint64, _ string, n numbered) {
		pilot := le.Uint16(b.mem[b.pilots+pilotSize*b.bucketOf(hash):])
		slot := b.mem[b.table+b.slotSize()*b.slotOf(hash, uint64(pilot)):]
		if b.key.long() {
			le.PutUint64(slot, at|hash<<offsetBits)
		} else {
			le.PutUint64(slot, n.key)
			le.PutUint64(slot[8:], n.word)
		}
	})
}
