package frozen

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	type id uint16
	for name, test := range map[string]struct {
		got  error
		want string
	}{
		"strings":        {Check[string, string](), ""},
		"named":          {Check[name, id](), ""},
		"bytes":          {Check[[]byte, []byte](), ""},
		"float values":   {Check[id, float32](), ""},
		"float keys":     {Check[float64, int](), "cannot have keys of type float64: use a string, a []byte or an integer"},
		"bool keys":      {Check[bool, int](), "keys of type bool"},
		"struct values":  {Check[string, struct{ A int }](), "values of type struct { A int }: use a string"},
		"pointer values": {Check[string, *int](), "values of type *int"},
		"array keys":     {Check[[2]byte, int](), "keys of type [2]uint8"},
		"slices of ints": {Check[string, []int](), "values of type []int"},
		"interfaces":     {Check[string, any](), "values of type interface {}"},
		"complex":        {Check[int, complex128](), "values of type complex128"},
	} {
		if test.want == "" && test.got != nil {
			t.Errorf("%s: %v", name, test.got)
		} else if test.want != "" && (test.got == nil || !strings.Contains(test.got.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, test.got, test.want)
		}
	}
}
