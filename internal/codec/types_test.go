package codec

import "time"

// Types that tests of several files send.
type (
	myInt    int
	myString string
	myBytes  []byte
	myMap    map[myString]myInt

	flat struct {
		A int8
		B int64
		C uint16
		D bool
		E float32
	}
	mixed struct {
		A    int8
		B    bool
		Name string
		C    complex128
		D    [3]bool
		E    []flat
		In   struct {
			X, Y int32
			Tag  myString
		}
		F uintptr
		T time.Time
		M map[string][]int
		_ func()
		_ int
	}
	base     struct{ ID int }
	hidden   struct{ Level int }
	embedded struct {
		base
		*hidden
		Extra string
	}
	chosen struct {
		a    int    `brine:"send"`
		b    string `brine:"send"`
		C    func() `brine:"-"`
		Skip string `brine:"-"`
		skip []int  `brine:"-"`
	}
	bulky struct {
		A    int8
		Skip [5000]byte `brine:"-"`
	}
	tree  struct{ Left, Right *tree }
	forst []forst
	nest  map[string]nest
	stamp time.Time
	lots  struct {
		B [100]bool
		N [2]flat
		S [2]string
		Z [0]func()
		E struct{}
	}
	logged struct { // its only methods are those of the embedded time
		time.Time
		Level int
	}
)
