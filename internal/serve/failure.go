package serve

import (
	"errors"
	"fmt"

	"github.com/brinepool/brine/internal/codec"
	"github.com/brinepool/brine/internal/engine"
)

// maxText is how many bytes of a message or a stack are passed on.
const maxText = 1 << 20

// appendFailure appends the payload of a failed frame.
func appendFailure(b []byte, f *engine.Failure) []byte {
	cause, message, stack := explain(f)
	b = append(b, byte(cause))
	b = appendU32(b, uint32(max(0, f.Attempt)))
	b = appendString(b, message)
	b = appendString(b, stack[:min(len(stack), maxText)])
	b = appendU32(b, uint32(len(f.Deaths)))
	for i := range f.Deaths {
		b = appendU32(b, f.Deaths[i].Worker)
	}
	return b
}

// explain returns what the client is told of a failure.
func explain(f *engine.Failure) (cause engine.Cause, message []byte, stack string) {
	cause, stack = f.Cause, f.Stack
	switch f.Cause {
	case engine.Erred:
		if message = f.Raw; message == nil {
			message = codec.AppendError(nil, f.Err)
		}
		return cause, message, stack
	case engine.Panicked:
		return engine.Erred, codec.AppendError(nil, errors.New("panic: "+f.Value)), stack
	case engine.Exited:
		return engine.Erred, codec.AppendError(nil, errors.New("the task ended its goroutine")), stack
	case engine.Crashed:
		if last := len(f.Deaths) - 1; f.Err == nil && last >= 0 && f.Deaths[last].Err != nil {
			return cause, text(f.Deaths[last].Err), stack
		}
	case engine.TimedOut:
		if last := len(f.Deaths) - 1; stack == "" && last >= 0 {
			stack = string(f.Deaths[last].Report)
		}
		return cause, fmt.Appendf(nil, "over its time of %v", f.Timeout), stack
	default:
	}
	return cause, text(f.Err), stack
}

func text(err error) []byte {
	if err == nil {
		return nil
	}
	s := err.Error()
	return []byte(s[:min(len(s), maxText)])
}
