package frozen

import (
	"fmt"
	"unsafe"
)

// Check looks at every entry and returns an error for the first that is damaged: one that is not found by its key, or
// whose bytes are not where they ought to be. It takes as long as a look-up of every key.
func (m *Map[K, V]) Check() error {
	if m.key.long() {
		return m.checkTexts()
	}
	return m.checkNumbers()
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("brine: a frozen map is damaged: "+format, args...)
}

func (t *table) checkTexts() error {
	used := uint64(0)
	for i := range t.slots {
		if load64(t.firstSlot, 8*i) != 0 {
			used++
		}
	}
	if used != t.entries {
		return damaged("%d of its slots are in use, for %d entries", used, t.entries)
	}
	at := t.data
	for i := range t.entries {
		key, ok := t.keyAt(at)
		if !ok || t.entrySize(at) > t.size-at {
			return damaged("entry %d at %d is longer than the table", i, at)
		}
		if found, ok := t.find(key); !ok || found != at {
			return damaged("entry %d at %d is not found by its key", i, at)
		}
		if !t.value.long() && !t.fits(t.value, load8(t.base, at+4)) {
			return damaged("entry %d at %d has a bool that is neither 0 nor 1", i, at)
		}
		at += t.entrySize(at)
	}
	if at != t.size {
		return damaged("its entries end at %d, itself at %d", at, t.size)
	}
	return nil
}

func (t *table) checkNumbers() error {
	used := uint64(0)
	for i := range t.slots {
		slot := unsafe.Add(t.firstSlot, int(16*i))
		key, value := load64(slot, 0), load64(slot, 8)
		if key == t.empty {
			continue
		}
		used++
		if found, ok := t.findNumber(key); !ok || found != slot {
			return damaged("slot %d is not found by its key", i)
		}
		if !t.fits(t.key, key) {
			return damaged("slot %d has a key of more bytes than %s has", i, t.key)
		}
		if !t.value.long() {
			if !t.fits(t.value, value) {
				return damaged("slot %d has a value of more bytes than %s has", i, t.value)
			}
			continue
		}
		if _, ok := t.deref(value); !ok || value&offsetMask < t.data {
			return damaged("the value of slot %d is not in the table", i)
		}
	}
	if used != t.entries {
		return damaged("%d of its slots are in use, for %d entries", used, t.entries)
	}
	return nil
}

// fits tells whether a word can be of a kind.
func (t *table) fits(k kind, w uint64) bool {
	if k == kindBool {
		return w <= 1
	}
	return k.width() == 8 || w>>(8*k.width()) == 0
}
