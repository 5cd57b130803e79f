package frozen

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

func TestOpenRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	_, mem := build(t, maps.All(map[int64]string{1: "a"}))
	for _, test := range []struct {
		open func([]byte) error
		want string
	}{
		{openAs[int64, string], ""},
		{openAs[string, string], "its keys are of type int64, not string"},
		{openAs[uint64, string], "its keys are of type int64, not uint64"},
		{openAs[int64, []byte], "its values are of type string, not []byte"},
		{openAs[int64, int], "its values are of type string, not int"},
		{openAs[int64, *int], "cannot have values of type *int"},
	} {
		err := test.open(mem)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

func openAs[K, V any](mem []byte) error {
	_, err := Open[K, V](mem)
	return err
}

func TestOpenRefusesHeaders(t *testing.T) {
	t.Parallel()
	_, good := build(t, maps.All(map[string]string{"a": "b", "c": "d"}))
	set := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], v); return b }
	}
	size := uint64(len(good))
	for name, test := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"as it is":            {func(b []byte) []byte { return b }, ""},
		"with bytes behind":   {func(b []byte) []byte { return append(b, 1, 2, 3) }, ""},
		"nothing":             {func([]byte) []byte { return nil }, "there is none in these 0 bytes"},
		"half a header":       {func(b []byte) []byte { return b[:100] }, "there is none"},
		"magic":               {func(b []byte) []byte { b[0]++; return b }, "there is none"},
		"version":             {func(b []byte) []byte { b[8] = 2; return b }, "it has version 2, this program reads version 1"},
		"kind":                {func(b []byte) []byte { b[atKey] = 200; return b }, "its keys are of type kind 200, not string"},
		"cut":                 {func(b []byte) []byte { return b[:len(b)-1] }, "bytes, of which"},
		"size":                {set(atSize, 1<<63), "bytes, of which"},
		"size below the data": {set(atSize, 128), "damaged"},
		"entries":             {set(atEntries, 3), "damaged"},
		"many entries":        {set(atEntries, 1<<63), "damaged"},
		"no pilots":           {set(atBuckets, 0), "damaged"},
		"pilots":              {set(atBuckets, 33), "damaged"},
		"many pilots":         {set(atBuckets, 1<<63+1), "damaged"},
		"no slots":            {set(atSlots, 0), "damaged"},
		"slots":               {set(atSlots, 4), "damaged"},
		"many slots":          {set(atSlots, 1<<61+1), "damaged"},
		"pilots too low":      {set(atPilots, 126), "damaged"},
		"pilots at odd":       {set(atPilots, 129), "damaged"},
		"pilots too high":     {set(atPilots, 256), "damaged"},
		"slots too low":       {set(atTable, 64), "damaged"},
		"slots not aligned":   {set(atTable, 193), "damaged"},
		"slots too high":      {set(atTable, 1<<63), "damaged"},
		"data too low":        {set(atData, 200), "damaged"},
		"data too high":       {set(atData, size+1), "damaged"},
		"data far too high":   {set(atData, 1<<64-1), "damaged"},
	} {
		err := openAs[string, string](test.change(slices.Clone(good)))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestCheckFindsDamage changes one byte after the other: either Open or Check sees it, but for spare bytes and bytes of
// values. A bit of the secret may be one that no hash depends on.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	mem := fixed(t, pairs[string, string]{{"key one", "VALUE"}, {"key two", "VALUE"}, {"key three", "VALUE"}}.all())
	for at := range mem {
		if at >= atSecret && at < atSecret+32 {
			continue
		}
		for _, bit := range []byte{1, 128} {
			b := slices.Clone(mem)
			b[at] ^= bit
			m, err := Open[string, string](b)
			if err == nil {
				err = m.Check()
			}
			unused := at == 14 || at == 15 || at >= atEmpty && at < atSecret || at >= 112 && at < headerSize ||
				at >= headerSize+2 && at < 192
			inValue := strings.ContainsRune("VALUE", rune(mem[at])) && at > bytes.Index(mem, []byte("key"))
			if free := unused || inValue; free != (err == nil) {
				t.Errorf("bit %d of byte %d: %v", bit, at, err)
			}
		}
	}
}

// TestEmptySlots has tables in which every slot is empty: the key of empty slots is none.
func TestEmptySlots(t *testing.T) {
	t.Parallel()
	numbers, _ := build(t, maps.All(map[uint64]string{}))
	if v, ok := numbers.Get(numbers.empty); ok {
		t.Errorf("the key of empty slots has the value %q", v)
	}
	texts, _ := build(t, maps.All(map[string]string{}))
	for i := range 1 << 18 { // more than there are tags
		if v, ok := texts.Get(strconv.Itoa(i)); ok {
			t.Errorf("%d has the value %q in an empty table", i, v)
		}
	}
}

// TestEntryOutsideData has a slot that refers to what looks like an entry in the header.
func TestEntryOutsideData(t *testing.T) {
	t.Parallel()
	m, mem := build(t, maps.All(map[string]string{"k": "value"}))
	slot := mem[m.header.table:]
	if binary.LittleEndian.Uint64(slot) == 0 {
		slot = slot[8:]
	}
	const at = 112
	copy(mem[at:], "\x01\x00\x00\x00\x00\x00\x00\x00k")
	binary.LittleEndian.PutUint64(slot, binary.LittleEndian.Uint64(slot)&^offsetMask|at)
	if v, ok := m.Get("k"); ok {
		t.Errorf("found %q in the header", v)
	}
	if err := m.Check(); err == nil {
		t.Error("Check found nothing")
	}
}

// TestDamagedBool has a bool that is neither 0 nor 1, which Go takes for neither true nor false.
func TestDamagedBool(t *testing.T) {
	t.Parallel()
	m, mem := build(t, maps.All(map[string]bool{"k": true}))
	mem[m.data+4] = 2
	v, ok := m.Get("k")
	if b := *(*byte)(unsafe.Pointer(&v)); !ok || b != 1 {
		t.Errorf("the byte is %d, %t, want 1", b, ok)
	}
	if err := m.Check(); err == nil {
		t.Error("Check found nothing")
	}
}
