package codec

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"
)

// TestRandomTypes sends random values of random types, also after changing a
// byte of their encoding, when anything may come of it but a panic.
func TestRandomTypes(t *testing.T) {
	t.Parallel()
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	for seed := range rounds {
		r := random{rand.New(rand.NewPCG(uint64(seed), 1))}
		typ := r.typ(4)
		p, err := For(typ)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		in := reflect.New(typ)
		r.fill(in.Elem(), 5)
		b, err := p.Append(nil, in.UnsafePointer())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		checkBudget(t, p, b)
		src := bytes.Clone(b)
		out := reflect.New(typ)
		r.fill(out.Elem(), 3) // to be overwritten
		if err := p.Decode(src, out.UnsafePointer()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		clear(src)
		if !reflect.DeepEqual(in.Interface(), out.Interface()) {
			t.Fatalf("seed %d: %s: got %#v, want %#v", seed, typ, out.Elem(), in.Elem())
		}
		for range min(len(b), 20) {
			src := bytes.Clone(b)
			src[r.IntN(len(src))] ^= 1 << r.IntN(8)
			_ = p.Decode(src[:len(src)-r.IntN(2)], reflect.New(typ).UnsafePointer())
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// random makes types and values.
type random struct{ *rand.Rand }

var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[int32](),
	reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[complex128](),
	reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[any](), reflect.TypeFor[struct{}](),
	reflect.TypeFor[flat](), reflect.TypeFor[bulky](), reflect.TypeFor[*tree](), reflect.TypeFor[forst](), reflect.TypeFor[moody](),
}

func (r random) typ(depth int) reflect.Type {
	if depth == 0 {
		return leaves[r.IntN(len(leaves))]
	}
	switch r.IntN(7) {
	case 0:
		return reflect.SliceOf(r.typ(depth - 1))
	case 1:
		return reflect.ArrayOf(r.IntN(4), r.typ(depth-1))
	case 2:
		return reflect.PointerTo(r.typ(depth - 1))
	case 3:
		key := leaves[r.IntN(10)] // those that are equal to themselves, NaN aside
		return reflect.MapOf(key, r.typ(depth-1))
	case 4, 5:
		fields := make([]reflect.StructField, r.IntN(6))
		for i := range fields {
			fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: r.typ(depth - 1)}
			if r.IntN(12) == 0 {
				fields[i].Tag = `brine:"send"`
			}
		}
		return reflect.StructOf(fields)
	default:
		return r.typ(0)
	}
}

func (r random) fill(v reflect.Value, size int) {
	switch t := v.Type(); t {
	case reflect.TypeFor[time.Time]():
		at := time.Unix(r.Int64()>>20, r.Int64N(1e9))
		if r.IntN(2) == 0 {
			at = at.UTC()
		}
		v.Set(reflect.ValueOf(at))
		return
	case reflect.TypeFor[any]():
		inside := []any{nil, 1, "s", 2.5, []int{1}, map[string]any{"k": true}, struct{}{}, []any{nil, "x"}, time.Unix(1, 2)}
		if x := inside[r.IntN(len(inside))]; x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return
	case reflect.TypeFor[moody]():
		v.Field(0).SetString("good")
		return
	case reflect.TypeFor[bulky]():
		v.Field(0).SetInt(r.Int64() >> 57)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(r.Uint64())
	case reflect.Float32, reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.Complex128:
		v.SetComplex(complex(r.NormFloat64(), 1))
	case reflect.String:
		v.SetString(string(make([]byte, r.IntN(20))))
	case reflect.Slice:
		if v.SetZero(); r.IntN(4) > 0 && size > 0 {
			n := r.IntN(size + 1)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				r.fill(v.Index(i), size-1)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			r.fill(v.Index(i), size)
		}
	case reflect.Map:
		if v.SetZero(); r.IntN(4) > 0 && size > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range r.IntN(3 * size) {
				key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				r.fill(key, size-1)
				r.fill(elem, size-1)
				v.SetMapIndex(key, elem)
			}
		}
	case reflect.Pointer:
		if v.SetZero(); r.IntN(4) > 0 && size > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fill(v.Elem(), size-1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i), size)
		}
	default:
		panic("no values of " + v.Type().String())
	}
}
