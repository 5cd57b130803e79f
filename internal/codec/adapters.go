package codec

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
)

// A Codec is how values cross when the program chooses its own way. A Codec is
// used by many goroutines at once.
type Codec interface {
	// Name identifies the codec to the worker, which has one of the same name.
	Name() string
	// Append appends the encoding of the value that v, a non-nil pointer,
	// points at.
	Append(dst []byte, v any) ([]byte, error)
	// Decode stores in the value that v, a non-nil pointer, points at what src
	// holds. It must not keep src.
	Decode(src []byte, v any) error
}

// Gob is encoding/gob with a fresh stream for each value, and JSON is
// encoding/json. Both overwrite the value, where these packages would leave
// fields as they were, and turn panics of marshalers into errors. Neither bounds
// the memory that bad input takes as the compiled codec does.
var (
	Gob  Codec = gobCodec{}
	JSON Codec = jsonCodec{}
)

type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Append(dst []byte, v any) (out []byte, err error) {
	defer adapted(&out, dst, &err, "encode", "gob", v)
	w := bytes.NewBuffer(dst)
	err = gob.NewEncoder(w).Encode(v)
	return w.Bytes(), err
}

func (gobCodec) Decode(src []byte, v any) (err error) {
	defer adapted(new([]byte), nil, &err, "decode", "gob", v)
	reflect.ValueOf(v).Elem().SetZero()
	r := bytes.NewReader(src)
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return err
	}
	if r.Len() > 0 {
		return errLeftOver
	}
	return nil
}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Append(dst []byte, v any) (out []byte, err error) {
	defer adapted(&out, dst, &err, "encode", "json", v)
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

func (jsonCodec) Decode(src []byte, v any) (err error) {
	defer adapted(new([]byte), nil, &err, "decode", "json", v)
	reflect.ValueOf(v).Elem().SetZero()
	return json.Unmarshal(src, v)
}

// adapted is to be deferred by both: it recovers panics of the program's
// methods, says what was being done, and gives back dst as it was.
func adapted(out *[]byte, dst []byte, err *error, doing, codec string, v any) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
	if *err != nil {
		*out = dst
		*err = fmt.Errorf("brine: %s %s as %s: %w", doing, reflect.TypeOf(v).Elem(), codec, *err)
	}
}
