package brine_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/brinepool/brine"
)

// The benchmarks here are for profiling; the ones that a document quotes compare with floors and peers, in bench.

func benchmarkPool(b *testing.B, workers int) *brine.Pool[*counter] {
	pool, err := brine.Open(context.Background(), counters, 0, &brine.Options{Workers: workers})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pool.Close() })
	return pool
}

func BenchmarkCall(b *testing.B) {
	ctx, pool := context.Background(), benchmarkPool(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := brine.Call(ctx, pool, add, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall64(b *testing.B) {
	ctx, pool := context.Background(), benchmarkPool(b, 2)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := brine.Call(ctx, pool, add, 7); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkMap(b *testing.B) {
	ctx, pool := context.Background(), benchmarkPool(b, 2)
	ins := make([]int, 1_000_000)
	for b.Loop() {
		if _, err := brine.Map(ctx, pool, add, ins); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(ins))/b.Elapsed().Seconds()/1e6, "Mtasks/s")
}

func BenchmarkAll(b *testing.B) {
	ctx, pool := context.Background(), benchmarkPool(b, 2)
	var n atomic.Int64
	for b.Loop() {
		for _, err := range brine.All(ctx, pool, add, func(yield func(int) bool) {
			for i := 0; i < 100_000 && yield(i); i++ {
			}
		}) {
			if err != nil {
				b.Fatal(err)
			}
			n.Add(1)
		}
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds()/1e6, "Mtasks/s")
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		pool, err := brine.Open(context.Background(), counters, 0, &brine.Options{Workers: 1})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		pool.Close()
		b.StartTimer()
	}
}
