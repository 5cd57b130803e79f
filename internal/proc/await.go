package proc

// Await returns a channel that is closed when a process has ended that need not be a child of this one. It errs if there
// is no such process, or the system can't tell.
func Await(pid int) (<-chan struct{}, error) {
	h, err := openHandle(pid)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		h.await()
		h.close()
		close(ended)
	}()
	return ended, nil
}
