// Package bill is what crossed between processes as a document: who encoded what, how often, how many bytes, how long,
// where the bytes come from, and what to do about it. It knows the document and the ways to show it, as text, as JSON, as
// a page and as a timeline; it doesn't know where the figures come from. Go's pools, Python's and `brine trace` all fill
// in the same document. It imports nothing of this module.
package bill

// Version is the version of the document.
const Version = 1

// Document is what `--json` writes: the bills of a program.
type Document struct {
	Version int      `json:"version"`
	Program []string `json:"program,omitempty"` // the command line
	Source  string   `json:"source"`            // go, run or trace
	Bills   []Bill   `json:"bills"`             // one a pool; of a traced program, one of all that it sent
}

// Bill is the account of one pool, or of all that a traced program sent. Times are nanoseconds.
type Bill struct {
	Name      string    `json:"name"`
	Language  string    `json:"language"` // go or python: what encoding is called, and what advice can name
	Elapsed   int64     `json:"elapsed_ns"`
	Counts    Counts    `json:"counts"`
	Processes []Process `json:"processes"` // the parent first
	Lines     []Line    `json:"lines"`     // over all processes
	Parts     []Part    `json:"parts"`     // where the bytes come from: for a function and class the tree of the largest value, see Finish
	Repeats   []Repeat  `json:"repeats"`
	Changes   []Change  `json:"changes,omitempty"`
	Advice    []string  `json:"advice"`
	Instead   string    `json:"instead,omitempty"` // what `brine run` would have sent, in whole sentences
	Chunks    []Chunk   `json:"chunks,omitempty"`
	Events    []Event   `json:"events,omitempty"`
	Unread    int64     `json:"unread_streams,omitempty"` // of a traced program: that are counted, but were not looked into
	Stock     bool      `json:"stock,omitempty"`          // the pools were the standard library's
	Dropped   int64     `json:"dropped_chunks,omitempty"` // older chunks, of which there is no record any more
}

// Counts are of tasks, and of worker processes.
type Counts struct {
	Done    int64 `json:"done"`
	Failed  int64 `json:"failed"`
	Retried int64 `json:"retried"`
	Workers int64 `json:"workers"` // that the pool keeps
	Started int64 `json:"started"`
	Deaths  int64 `json:"deaths"`
}

// Tally counts encodes or decodes.
type Tally struct {
	Count   int64  `json:"count"`
	Bytes   int64  `json:"bytes"`
	Time    int64  `json:"ns"`
	Max     int64  `json:"max"`                // bytes of the largest
	MaxPath string `json:"max_path,omitempty"` // to what makes the largest large, where that is known: .cache
}

// Process is the account of one process.
type Process struct {
	Name   string `json:"name"` // parent, worker, earlier workers; of a traced program also process, manager and the like
	PID    int    `json:"pid"`
	Ended  bool   `json:"ended"`
	Encode Tally  `json:"encode"`
	Decode Tally  `json:"decode"`
	Shared Tally  `json:"shared"` // data in shared memory that it published or mapped; not sent
	Tasks  int64  `json:"tasks"`
	Began  int64  `json:"began_ns"` // when it was started, on the clock of chunks and events

	// How the time of a worker went, from its start to its end or to now.
	Starting     int64 `json:"starting_ns"`     // until the process could be spoken to
	Initialising int64 `json:"initialising_ns"` // until it was ready
	Running      int64 `json:"run_ns"`          // in the functions of tasks
	Working      int64 `json:"working_ns"`      // running, decoding and encoding
	Waiting      int64 `json:"waiting_ns"`
	PeakMemory   int64 `json:"peak_memory"` // bytes; 0 where it isn't known

	Lines []Line `json:"lines"`
}

// The classes of what crosses.
const (
	Function    = "function"    // and what is bound to it: self, closure cells, arguments that are sent once
	Initializer = "initializer" // and its arguments: a kind's configuration
	Argument    = "argument"
	Result      = "result"
	Shared      = "shared"
	Message     = "message" // of a traced program: what went through a queue, a pipe or to a manager
)

// Line is what crossed of one class of one function, from one place in the program where that is known.
type Line struct {
	Function string `json:"function"`
	Class    string `json:"class"`
	Site     string `json:"site,omitempty"` // file:line of the call, in the user's program
	Encode   Tally  `json:"encode"`
	Decode   Tally  `json:"decode"`
}

// Part is a value, or a part of one, and what it takes encoded. The parts of a part, and what of its bytes is in none of
// them (Own), add up to its Bytes.
type Part struct {
	Name    string `json:"name"`              // how one gets here from the part above: .cache, ['x'], [3], self, variable x
	Type    string `json:"type,omitempty"`    // dict, *main.Converter
	Entries int64  `json:"entries,omitempty"` // elements of a container or a string, where that says something
	Count   int64  `json:"count,omitempty"`   // how many values this stands for, if it is several: the other elements of a list
	Bytes   int64  `json:"bytes"`             // encoded, with its parts
	Own     int64  `json:"own,omitempty"`     // of it, what is in none of Parts
	Mapped  int64  `json:"mapped,omitempty"`  // bytes of shared memory that it refers to, which don't cross
	Note    string `json:"note,omitempty"`    // what there is to say: the bound object; a reference to what is counted at .a
	Error   string `json:"error,omitempty"`   // why it can't be sent
	// Of the parts of a bill: what function and class they belong to, and from which place the call came.
	Function string `json:"function,omitempty"`
	Class    string `json:"class,omitempty"`
	Site     string `json:"site,omitempty"`

	Sum   uint64 `json:"sum,omitempty"`   // by which equal content is known, within one document
	Parts []Part `json:"parts,omitempty"` // the largest first
}

// Repeat is a value, or a part of values, that was sent more than once with equal content.
type Repeat struct {
	Function string `json:"function"`
	Class    string `json:"class"`
	Site     string `json:"site,omitempty"`
	Path     string `json:"path"`  // to the part that repeats; empty for the whole
	Bytes    int64  `json:"bytes"` // of one sending
	Count    int64  `json:"count"` // of sendings
	Remedy   string `json:"remedy"`
}

// Change is a value that should not have changed between two sendings, but did: workers have different versions of it.
type Change struct {
	Function string `json:"function"`
	Class    string `json:"class"`
	Site     string `json:"site,omitempty"`
	Path     string `json:"path"` // to what changed
	Count    int64  `json:"count"`
	Versions int64  `json:"versions"`
	Text     string `json:"text"` // what it was and what it became, where that is short
}

// Chunk is the way of one chunk of tasks: where its time went. Begin times are nanoseconds since the bill's beginning.
// A process that is not known has PID 0.
type Chunk struct {
	ID        int64  `json:"id"` // unique in the bill
	Function  string `json:"function"`
	Site      string `json:"site,omitempty"`
	Parent    int    `json:"parent"` // its process ids
	Worker    int    `json:"worker"`
	Tasks     int64  `json:"tasks"`
	Bytes     int64  `json:"bytes"`        // of arguments and function
	Results   int64  `json:"result_bytes"` // of results
	Encode    Span   `json:"encode"`       // in the parent
	Send      Span   `json:"send"`         // from there until the worker began with it
	Decode    Span   `json:"decode"`       // in the worker
	Run       Span   `json:"run"`
	Reencode  Span   `json:"reencode"`            // of the results, in the worker
	Back      Span   `json:"back"`                // until the results were there, and decoded
	Lost      string `json:"lost,omitempty"`      // why no results came: the worker died, the chunk was cancelled
	Estimated bool   `json:"estimated,omitempty"` // the worker's spans have their true lengths, but their places are inferred
}

// Span is a time.
type Span struct {
	Begin int64 `json:"begin_ns"`
	Time  int64 `json:"ns"`
}

// Event is something that happened to a process at one moment.
type Event struct {
	Time int64  `json:"at_ns"`
	PID  int    `json:"pid"`
	Kind string `json:"kind"` // started, ready, ended, died, killed
	Text string `json:"text,omitempty"`
}
