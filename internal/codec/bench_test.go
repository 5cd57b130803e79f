package codec

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"slices"
	"testing"
	"time"
)

// record is like what programs send: numbers, two short strings, a bool, a time.
type record struct {
	ID    int
	Score float64
	Name  string
	City  string
	Live  bool
	Seen  time.Time
}

func records(n int) []record {
	rs := make([]record, n)
	for i := range rs {
		rs[i] = record{
			ID: i * 7919, Score: float64(i) / 3, Name: fmt.Sprintf("name-%d", i), City: fmt.Sprintf("city %d", i%97),
			Live: i%3 == 0, Seen: time.Unix(1_700_000_000+int64(i), int64(i)*1000).UTC(),
		}
	}
	return rs
}

// gobStream is a lasting pair of gob coders over one buffer, gob at its best.
type gobStream struct {
	buf bytes.Buffer
	enc *gob.Encoder
	dec *gob.Decoder
}

func newGobStream() *gobStream {
	s := new(gobStream)
	s.enc, s.dec = gob.NewEncoder(&s.buf), gob.NewDecoder(&s.buf)
	return s
}

// BenchmarkChunk encodes and decodes a chunk of 1000 records by the codec and by
// one lasting gob stream, in turns, and reports the ratio of the median times.
func BenchmarkChunk(b *testing.B) {
	benchmarkAgainstGob(b, records(1000))
}

// BenchmarkMap does the same with a map of 100,000 strings.
func BenchmarkMap(b *testing.B) {
	m := make(map[string]string, 100_000)
	for i := range 100_000 {
		m[fmt.Sprintf("key-%07d", i)] = fmt.Sprintf("the value of number %d", i)
	}
	benchmarkAgainstGob(b, m)
}

func benchmarkAgainstGob[T any](b *testing.B, v T) {
	c, err := Of[T]()
	if err != nil {
		b.Fatal(err)
	}
	stream := newGobStream()
	var buf []byte
	var ours, theirs []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if buf, err = c.Append(buf[:0], &v); err != nil {
			b.Fatal(err)
		}
		var out T
		if err := c.Decode(buf, &out); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := stream.enc.Encode(&v); err != nil {
			b.Fatal(err)
		}
		var out2 T
		if err := stream.dec.Decode(&out2); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, middle.Sub(start))
		theirs = append(theirs, time.Since(middle))
	}
	// Medians, since a turn in which another process had the core says nothing.
	slices.Sort(ours)
	slices.Sort(theirs)
	brine, peer := float64(ours[len(ours)/2]), float64(theirs[len(theirs)/2])
	b.ReportMetric(brine, "brine-ns/op")
	b.ReportMetric(peer, "gob-ns/op")
	b.ReportMetric(brine/peer, "of-gob")
}

// BenchmarkValue times single small values.
func BenchmarkValue(b *testing.B) {
	benchmarkValue(b, "int", 42)
	benchmarkValue(b, "record", records(1)[0])
	benchmarkValue(b, "floats", make([]float64, 1<<17))
	benchmarkValue(b, "any", any(42))
	benchmarkValue(b, "pointer", &record{Name: "x"})
	benchmarkValue(b, "map", map[string]int{"a": 1, "b": 2, "c": 3})
}

func benchmarkValue[T any](b *testing.B, name string, v T) {
	c, err := Of[T]()
	if err != nil {
		b.Fatal(err)
	}
	buf, err := c.Append(nil, &v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run(name+"/encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if buf, err = c.Append(buf[:0], &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/decode", func(b *testing.B) {
		b.ReportAllocs()
		var out T
		for b.Loop() {
			if err := c.Decode(buf, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
