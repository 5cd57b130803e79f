package pickle

// Kind says what a value is, as far as the stream tells.
type Kind uint8

// The kinds of values.
const (
	None Kind = iota
	Bool
	Int
	Float
	Str
	Bytes
	ByteArray
	Buffer     // out of band
	Global     // a class or function by its name
	Ref        // a reference to a value that stands elsewhere in the stream
	Persistent // what a pickler stored elsewhere, and calls by an id
	Unsendable // what stands in the place of a value that can't be pickled
	Extension  // a class by its number in copyreg's registry
	Tuple
	List
	Dict
	Set
	FrozenSet
	Object // whatever is made by a call
)

var kindNames = [...]string{
	None: "None", Bool: "bool", Int: "int", Float: "float", Str: "str", Bytes: "bytes", ByteArray: "bytearray", Buffer: "buffer",
	Global: "global", Ref: "reference", Persistent: "persistent id", Unsendable: "unsendable", Extension: "extension",
	Tuple: "tuple", List: "list", Dict: "dict", Set: "set", FrozenSet: "frozenset", Object: "object",
}

// String returns what Python calls the type, where there is one.
func (k Kind) String() string { return kindNames[k] }

// item is a value on the stack or in the tree. There are very many, so it is small, and what can be read in the stream
// again is not in it.
type item struct {
	node  *node // what is inside; nil for what has nothing inside, and for what was not kept
	off   int64 // where in the stream it begins
	bytes int64
	sum   uint64 // of its content
	memo  uint32 // its number in the memo and one; of a reference, that of what it refers to
	name  uint16 // in names: of a global; of an object, what is called to make it
	kind  Kind
	fault bool // in it is something that can't be sent
}

// node is what is inside of a value.
type node struct {
	kids    []item  // elements; of a dictionary, keys and values in turn; of an object, what is appended to it
	index   []int64 // which elements kids are, where some were not kept
	entries int64   // elements in all
	floor   int64   // elements of no more bytes are not kept any more
	rest    rest    // what was not kept
	end     int64   // where in the stream the value ends
	height  int32   // levels below
	faults  int32   // elements that can't be sent

	// Of objects.
	callee, args, kwargs item
	states               []item
	pairs                *node // what is set in it by key
	how                  how
}

// how says how an object is made.
type how uint8

const (
	byReduce how = iota // a call
	byNew               // __new__ of a class
	byInst              // a class of old
)

// rest is elements that are not kept, added up.
type rest struct {
	count, bytes int64
}

func (r *rest) add(o rest) {
	r.count += o.count
	r.bytes += o.bytes
}
