package link

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is asked for on task and result pipes; where the system refuses, its default does.
const pipeSize = 1 << 20

// The descriptors that a worker finds open when it starts.
const (
	TaskFD    = 3 // frames from the parent
	ResultFD  = 4 // frames to the parent
	ControlFD = 5 // a socket: cancellations and descriptors from the parent; its end means that the parent is gone
	CrashFD   = 6 // where the runtime writes its last words
	JournalFD = 7 // shared memory that the worker writes: the journal, and behind it the arena of results
	LeasesFD  = 8 // shared memory that the parent writes: leases of results, and behind them the arena of arguments
)

// Parent is the parent's end of a link. Reader and the write side belong to one goroutine at a time; Control may be
// called from any.
type Parent struct {
	*Reader
	Journal *Journal
	Arena   *Arena // of arguments

	shared *memory

	out     []byte // appended frames, written up to sent
	sent    int
	taskFD  int
	resFD   int
	ctlFD   int
	crashFD int
	kicked  atomic.Int32
}

// New makes the pipes and the shared memory of one link, with arenas of so many bytes in each direction. child holds the worker's descriptors in the order that begins at
// TaskFD; the caller closes them after the worker was started.
func New(arena int64) (p *Parent, child []int, err error) {
	var made []int
	defer func() {
		if err != nil {
			CloseAll(made)
			err = fmt.Errorf("making the pipes of a worker: %w", err)
		}
	}()
	pair := func() (r, w int) {
		if err != nil {
			return -1, -1
		}
		var fds [2]int
		// ForkLock is not needed: pipe2 sets close-on-exec in the same call; where there is none, openPipe takes it.
		if err = openPipe(&fds); err != nil {
			return -1, -1
		}
		made = append(made, fds[0], fds[1])
		return fds[0], fds[1]
	}
	taskR, taskW := pair()
	resR, resW := pair()
	crashR, crashW := pair()
	if err != nil {
		return nil, nil, err
	}
	ctl, err := openSocket()
	if err != nil {
		return nil, nil, err
	}
	ctlR, ctlW := ctl[0], ctl[1]
	made = append(made, ctlR, ctlW)
	enlarge(taskW)
	enlarge(resW)
	// The parent must not wait to write: it has to go on reading results while the worker is too busy writing them to
	// take more. O_NONBLOCK belongs to these ends alone, the worker's block.
	for _, fd := range []int{taskW, ctlW} {
		if err = syscall.SetNonblock(fd, true); err != nil {
			return nil, nil, err
		}
	}
	m, jfd, lfd, err := newMemory(arena)
	if err != nil {
		return nil, nil, err
	}
	p = &Parent{
		Reader: NewReader(resR), Journal: &Journal{mem: m.theirs}, Arena: newArena(m.fd, m.mine, leasesSize, nil), shared: m,
		taskFD: taskW, resFD: resR, ctlFD: ctlW, crashFD: crashR,
	}
	return p, []int{taskR, resW, ctlR, crashW, jfd, lfd}, nil
}

// Buffer returns the frames that the next Flush writes, for the owner to append more and hand back to SetBuffer.
func (p *Parent) Buffer() []byte { return p.out }

// SetBuffer takes the buffer back.
func (p *Parent) SetBuffer(b []byte) { p.out = b }

// Pending returns how many bytes wait to be written.
func (p *Parent) Pending() int { return len(p.out) - p.sent }

// Flush writes what it can without waiting. An error means that the worker is gone.
func (p *Parent) Flush() error {
	for p.sent < len(p.out) {
		n, err := syscall.Write(p.taskFD, p.out[p.sent:])
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return nil
		case err != nil:
			p.discard()
			return fmt.Errorf("write: %w", err)
		default:
			p.sent += n
		}
	}
	p.discard()
	return nil
}

func (p *Parent) discard() {
	if cap(p.out) > 4*maxBatch {
		p.out = nil // one large argument must not hold its memory for ever
	}
	p.out, p.sent = p.out[:0], 0
}

// Exchange waits until results have arrived, writing meanwhile what is still pending. The end of the stream is io.EOF.
func (p *Parent) Exchange() error {
	for p.Pending() > 0 {
		fds := []unix.PollFd{{Fd: int32(p.resFD), Events: unix.POLLIN}, {Fd: int32(p.taskFD), Events: unix.POLLOUT}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents != 0 {
			break
		}
		// When the worker is gone, what it had written is still to be read, up to the end of the stream.
		_ = p.Flush()
	}
	err := p.Fill()
	if p.kicked.Load() != 0 {
		return p.drain()
	}
	return err
}

// Kick ends an Exchange that waits although the worker is dead: a child of its own still holds its end of the pipe. It
// may be called from any goroutine until Close. Watching for the exit in Exchange itself would cost a poll for each
// read, which makes a call 1.7 times as long.
func (p *Parent) Kick() {
	if !p.kicked.CompareAndSwap(0, kicking) {
		return
	}
	state := int32(kickedFull)
	if fd, err := openWriteEnd(p.resFD); err == nil {
		if n, err := syscall.Write(fd, []byte{0}); n == 1 && err == nil {
			state = kickedByte
		}
		CloseAll([]int{fd})
	}
	p.kicked.Store(state)
}

// States of Parent.kicked.
const (
	kicking    = 1 // the byte is being written
	kickedByte = 2 // the stream has one byte more than the worker wrote
	kickedFull = 3 // it has not: the pipe is full, so that nobody waits in it
)

// drain reads what the worker left, after a kick.
func (p *Parent) drain() error {
	for p.kicked.Load() == kicking {
		runtime.Gosched()
	}
	if err := syscall.SetNonblock(p.resFD, true); err != nil {
		return fmt.Errorf("reading what a worker left: %w", err)
	}
	for p.Fill() == nil {
	}
	if p.kicked.Swap(kickedFull) == kickedByte {
		p.unread(1)
	}
	return io.EOF
}

// Clean says that nothing waits to be written, and of what has arrived nothing to be taken: another program may use the
// pipes.
func (p *Parent) Clean() bool { return p.Pending() == 0 && p.r == p.w }

// Ends returns the descriptors of the parent's ends of the task and the result pipe. They stay the link's.
func (p *Parent) Ends() (task, result int) { return p.taskFD, p.resFD }

// LeasesFD returns the descriptor of the memory that the parent writes, for whoever gives results back in its place. It
// stays the link's.
func (p *Parent) LeasesFD() int { return p.shared.fd }

// CrashFD returns the descriptor on which the worker's last words arrive, for its reader to close.
func (p *Parent) CrashFD() int { return p.crashFD }

// Close closes the parent's descriptors, but for the crash pipe, and unmaps the shared memory when no result in it is
// held. No Control may come after it.
func (p *Parent) Close() {
	CloseAll([]int{p.taskFD, p.resFD, p.ctlFD})
	p.shared.release()
}

// CloseAll closes descriptors: the child's ends after a start.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}
