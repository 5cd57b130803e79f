package worker

import (
	"bytes"
	"runtime"
	"sync"
	"time"

	"github.com/brinepool/brine/internal/link"
)

// limit reports where a task is stuck at the moment its time is up, and then tells the task by its context. The parent
// ends the worker if that doesn't help.
type limit struct {
	p     *process
	timer *time.Timer

	mu    sync.Mutex
	chunk uint64 // of the running task, 0 for none
	index uint32
	task  *taskContext
}

func (l *limit) init(p *process) {
	l.p = p
	l.timer = time.AfterFunc(time.Hour, l.report)
	l.timer.Stop()
}

func (l *limit) start(c *Chunk, index uint32) {
	l.mu.Lock()
	l.chunk, l.index, l.task = c.id, index, c.task
	l.mu.Unlock()
	l.timer.Reset(c.timeout)
}

func (l *limit) stop() {
	l.timer.Stop()
	l.mu.Lock()
	l.chunk = 0
	l.mu.Unlock()
}

func (l *limit) report() {
	l.mu.Lock()
	defer l.mu.Unlock() // held while the frame is written: stop must not pass in between
	if l.chunk == 0 {
		return
	}
	buf := make([]byte, 256<<10)
	trace := taskStack(buf[:runtime.Stack(buf, true)])
	if err := l.p.out.Frame(link.Header{Type: link.Stuck, Chunk: l.chunk, First: l.index}, trace); err != nil {
		fault(err)
	}
	l.task.end(expired)
}

// taskStack puts the goroutine that runs tasks first.
func taskStack(all []byte) []byte {
	goroutines := bytes.Split(all, []byte("\n\n"))
	for i, g := range goroutines {
		if bytes.Contains(g, []byte("worker.(*process).runChunk")) {
			goroutines[0], goroutines[i] = goroutines[i], goroutines[0]
			break
		}
	}
	const most = 64 << 10
	all = bytes.Join(goroutines, []byte("\n\n"))
	return all[:min(len(all), most)]
}
