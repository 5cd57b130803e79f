package frozen

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// Size walks the entries and returns their number and the size of a table of them in bytes.
func Size[K, V any](seq iter.Seq2[K, V]) (n int, bytes int64, err error) {
	var h header
	if h.key, h.value, err = kinds[K, V](); err != nil {
		return 0, 0, err
	}
	var data uint64
	for k, v := range seq {
		var key, value uint64
		if h.key.long() {
			key = uint64(len(text(h.key, &k)))
		}
		if h.value.long() {
			value = uint64(len(text(h.value, &v)))
		}
		if key > maxText || value > maxText {
			return 0, 0, fmt.Errorf("brine: freezing a map: an entry has a key of %d bytes and a value of %d, at most %d are possible", key, value, uint64(maxText))
		}
		n++
		data += h.dataOf(key, value)
		if h.plan(uint64(n)); h.data+data > maxSize { // each is below 2³⁴: there is no overflow before
			return 0, 0, fmt.Errorf("brine: freezing a map: %d entries alone take more than %d bytes", n, uint64(maxSize))
		}
	}
	h.plan(uint64(n))
	return n, int64(h.data + data), nil
}

// Fill writes the table into mem, which is zero and has the n entries and the size that Size returned for the same
// entries. It walks them again; if they are more, fewer or of another size than those that Size has seen, or if a key
// comes twice, it returns an error, and mem holds no table. While it runs it takes up to 30 bytes of memory an entry.
func Fill[K, V any](mem []byte, n int, seq iter.Seq2[K, V]) error {
	return fill(mem, n, seq, randomWord)
}

func randomWord() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.LittleEndian.Uint64(b[:])
}

var errChanged = errors.New("brine: freezing a map: its entries have changed while they were copied")

func fill[K, V any](mem []byte, n int, seq iter.Seq2[K, V], random func() uint64) (err error) {
	b := builder{mem: mem}
	if b.key, b.value, err = kinds[K, V](); err != nil {
		return err
	}
	b.size = uint64(len(mem))
	if n < 0 || uint64(n) > b.size/b.slotSize() {
		return fmt.Errorf("brine: freezing a map: %d entries don't fit into %d bytes", n, len(mem))
	}
	if b.plan(uint64(n)); b.data > b.size || b.size > maxSize {
		return fmt.Errorf("brine: freezing a map: %d entries don't fit into %d bytes", n, len(mem))
	}
	b.end = b.data
	for k, v := range seq {
		var value string
		var number uint64
		if b.value.long() {
			value = text(b.value, &v)
		} else {
			number = word(&v)
		}
		if b.key.long() {
			err = b.addText(text(b.key, &k), value, number)
		} else {
			err = b.addNumber(word(&k), value, number)
		}
		if err != nil {
			return err
		}
	}
	if b.count != b.entries || b.end != b.size {
		return errChanged
	}
	if err := b.index(random); err != nil {
		var twice *twiceError
		if errors.As(err, &twice) && !b.key.long() {
			var k K
			setWord(b.key, &k, twice.number)
			return fmt.Errorf("brine: freezing a map: the key %d is there twice", any(k))
		}
		return err
	}
	b.write(mem)
	return nil
}

type twiceError struct {
	text   string
	number uint64
}

func (e *twiceError) Error() string {
	return fmt.Sprintf("brine: freezing a map: the key %.200q is there twice", e.text)
}
