//go:build linux && (amd64 || arm64)

package frozen

import (
	"testing"
	"unsafe"
)

// TestBeyond4GiB has values and entries behind the first 4 GiB of a table. Most of it is a hole that takes no memory.
func TestBeyond4GiB(t *testing.T) {
	t.Parallel()
	const hole = 5 << 30

	numbers := builder{mem: shared(t, hole+4096)}
	numbers.key, numbers.value, numbers.size = kindInt64, kindString, hole+4096
	numbers.plan(2)
	numbers.end = numbers.data
	err := numbers.addNumber(1, "one", 0)
	numbers.end += hole
	if err2 := numbers.addNumber(2, "two", 0); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if err := numbers.index(randomWord); err != nil {
		t.Fatal(err)
	}
	numbers.write(numbers.mem)
	m, err := Open[int64, string](numbers.mem)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, m, map[int64]string{1: "one", 2: "two"})

	// An entry of the greatest length, of which only the length is written, and one behind it.
	texts := builder{mem: shared(t, hole)}
	texts.key, texts.value = kindString, kindString
	texts.plan(2)
	texts.end, texts.size = texts.data, texts.data+8+maxText+8+3+3
	copy(texts.mem[texts.data:], "\x00\x00\x00\x00\xff\xff\xff\xff") // the key is empty
	texts.end += 8 + maxText
	texts.count++
	if err := texts.addText("two", "dos", 0); err != nil {
		t.Fatal(err)
	}
	if err := texts.index(randomWord); err != nil {
		t.Fatal(err)
	}
	texts.write(texts.mem)
	m2, err := Open[string, string](texts.mem)
	if err != nil {
		t.Fatal(err)
	}
	if err := m2.Check(); err != nil {
		t.Error(err)
	}
	if v, ok := m2.Get("two"); !ok || v != "dos" {
		t.Errorf("behind 4 GiB there is %q, %t", v, ok)
	}
	if v, ok := m2.Get(""); !ok || len(v) != maxText {
		t.Errorf("there is a value of %d bytes, %t", len(v), ok)
	}
}

func TestSizeRefusesMuch(t *testing.T) {
	t.Parallel()
	mem := shared(t, maxText+1)
	long := unsafe.String(unsafe.SliceData(mem), maxText+1)
	one := pairs[string, string]{{"a", long}}
	if _, _, err := Size(one.all()); err == nil {
		t.Error("a value of 4 GiB was measured")
	}
	one[0].v = long[1:]
	if _, size, err := Size(one.all()); err != nil || size < maxText {
		t.Errorf("a value of one byte less has %d bytes: %v", size, err)
	}
	many := pairs[string, string]{}
	for range 1<<16 + 1 {
		many = append(many, one[0])
	}
	if _, _, err := Size(many.all()); err == nil {
		t.Error("a table of more than 2⁴⁸ bytes was measured")
	}
}
