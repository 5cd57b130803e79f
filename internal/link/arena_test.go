//go:build linux

package link

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/internal/shm"
)

// arenaBundle is an arena and what should be in it.
type arenaBundle struct {
	t      testing.TB
	a      *Arena
	random *rand.Rand
	live   []kept
	cells  []uint32 // of placeAlign bytes each: the number of the place that has it, 0 for none
	count  uint32   // of places so far
}

// kept is a place and what was written to it.
type kept struct {
	at     Place
	number uint32
}

func newArenaBundle(t testing.TB, size, first int, leases bool, seed uint64) *arenaBundle {
	t.Helper()
	fd, err := shm.Create("brine journal of "+t.Name(), int64(size))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := shm.Map(fd, int64(size), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shm.Unmap(mem)
		CloseAll([]int{fd})
	})
	var words []byte
	if leases {
		words = make([]byte, leasesSize)
	}
	return &arenaBundle{
		t: t, a: newArena(fd, mem, first, words), random: rand.New(rand.NewPCG(seed, 5)), cells: make([]uint32, size/placeAlign),
	}
}

// fill writes what only this place has.
func fill(b []byte, number uint32) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, uint64(number)<<32|uint64(len(b)))
	}
	for i := range b {
		b[i] = byte(number) + byte(i)
	}
}

// intact says whether b is what fill wrote.
func intact(b []byte, number uint32) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != uint64(number)<<32|uint64(len(b)) {
			return false
		}
	}
	for i := range b {
		if b[i] != byte(number)+byte(i) {
			return false
		}
	}
	return true
}

func (m *arenaBundle) read(k kept) []byte { return m.a.mem[k.at.Off : k.at.Off+k.at.Len] }

// put writes a value of n bytes for which room was asked for by an estimate.
func (m *arenaBundle) put(estimate, n int) {
	m.t.Helper()
	gap := m.gap()
	room := m.a.Alloc(estimate)
	if room == nil {
		if gap >= estimate+estimate/16+2*placeAlign {
			m.t.Fatalf("no room for %d bytes, where %d are free", estimate, gap)
		}
		return
	}
	if len(room) != 0 || cap(room) < estimate || !m.a.Holds(room) {
		m.t.Fatalf("room of length %d, capacity %d for %d bytes", len(room), cap(room), estimate)
	}
	m.count++
	value := make([]byte, n)
	fill(value, m.count)
	b := append(room, value...) //nolint:gocritic // room is the beginning of it
	if m.a.Holds(b) != (n <= cap(room)) {
		m.t.Fatalf("holds %d bytes of %d: %v", n, cap(room), m.a.Holds(b))
	}
	if !m.a.Holds(b) || m.random.IntN(10) == 0 {
		return // it was written, and nobody wants it
	}
	before := len(m.a.free)
	at, ok := m.a.Keep(b)
	if !ok {
		if len(m.a.pending) < leaseSlots || len(m.a.free) != before {
			m.t.Fatalf("not kept, with %d places lent", len(m.a.pending))
		}
		return
	}
	k := kept{at, m.count}
	if at.Len != n || at.Off < m.a.first || at.Off+at.Len > len(m.a.mem) {
		m.t.Fatalf("%d bytes at %d..%d of %d..%d", n, at.Off, at.Off+at.Len, m.a.first, len(m.a.mem))
	}
	if (at.Off+placeShift)%placeAlign != 0 {
		m.t.Fatalf("a place at %d", at.Off)
	}
	m.mark(k, 0, m.count)
	if !intact(m.read(k), k.number) {
		m.t.Fatal("what was written is not there")
	}
	m.live = append(m.live, k)
}

// mark gives the cells of a place, all of which must be old's, to another.
func (m *arenaBundle) mark(k kept, old, number uint32) {
	m.t.Helper()
	for c := k.at.Off / placeAlign; c*placeAlign < k.at.Off+k.at.Len; c++ {
		if m.cells[c] != old {
			m.t.Fatalf("place %d has byte %d, which is place %d's", k.number, c*placeAlign, m.cells[c])
		}
		m.cells[c] = number
	}
}

// gap returns the length of the longest run of cells that are nobody's, counting only those of whole extents.
func (m *arenaBundle) gap() (longest int) {
	run := 0
	for _, c := range m.cells[m.a.first/placeAlign:] {
		if c != 0 {
			run = 0
			continue
		}
		run += placeAlign
		longest = max(longest, run)
	}
	return longest
}

// take gives a place back, and checks what is in it.
func (m *arenaBundle) take(i int) {
	m.t.Helper()
	k := m.live[i]
	if !intact(m.read(k), k.number) {
		m.t.Fatalf("place %d was written by another", k.number)
	}
	m.live[i] = m.live[len(m.live)-1]
	m.live = m.live[:len(m.live)-1]
	m.mark(k, k.number, 0)
	if m.a.leases == nil {
		m.a.Free(k.at)
		return
	}
	word := leaseWord(m.a.leases, k.at.slot)
	if word.Load() == k.at.lease {
		m.t.Fatalf("place %d has a lease that was over before it began", k.number)
	}
	word.Store(k.at.lease)
}

// whole checks that all is free, and in one piece.
func (m *arenaBundle) whole() {
	m.t.Helper()
	if m.a.leases != nil {
		m.a.Alloc(0)
	}
	want := extent{m.a.first, len(m.a.mem)}
	if len(m.a.free) != 1 || m.a.free[0] != want || m.a.used != 0 || len(m.a.pending) != 0 {
		m.t.Errorf("free %v, want %v; %d used, %d lent", m.a.free, want, m.a.used, len(m.a.pending))
	}
}

// size returns a size as values have them, few of them large.
func (m *arenaBundle) size() int {
	switch m.random.IntN(8) {
	case 0:
		return m.random.IntN(300)
	case 1:
		return m.random.IntN(len(m.a.mem) / 4)
	case 2:
		return 64*m.random.IntN(1000) + m.random.IntN(3) + placeShift - 1 // about where cells end
	default:
		return m.random.IntN(30_000)
	}
}

// TestArenaModel does what comes to mind with an arena, in any order, and compares it with a map of who has what.
func TestArenaModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		for _, leases := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, leases %v", seed, leases), func(t *testing.T) {
				t.Parallel()
				m := newArenaBundle(t, 2<<20, []int{0, leasesSize, journalSize}[seed%3], leases, seed)
				steps := 1500
				if testing.Short() || raceDetector {
					steps = 700
				}
				full := 0
				for step := range steps {
					drain := step/200%3 == 2 // it fills and empties in turns
					if len(m.live) > 0 && (m.random.IntN(10) < 4 || (drain && m.random.IntN(10) < 7)) {
						m.take(m.random.IntN(len(m.live)))
					} else {
						n := m.size()
						estimate := n
						switch m.random.IntN(5) {
						case 0:
							estimate = max(0, n-m.random.IntN(n/8+2)) // a little too low
						case 1:
							estimate = m.size()
						}
						before := m.count
						if m.put(estimate, n); m.count == before {
							full++
						}
					}
					if step%100 == 99 {
						for _, k := range m.live {
							if !intact(m.read(k), k.number) {
								t.Fatalf("place %d was written by another", k.number)
							}
						}
					}
				}
				t.Logf("%d values, %d found no room", m.count, full)
				if full == 0 {
					t.Error("the arena was never full: the test is too small")
				}
				for len(m.live) > 0 {
					m.take(m.random.IntN(len(m.live)))
				}
				m.whole()
			})
		}
	}
}

// blocks returns how many bytes of pages an arena has.
func (m *arenaBundle) blocks() int64 {
	m.t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(m.a.fd, &st); err != nil {
		m.t.Fatal(err)
	}
	return st.Blocks * 512
}

// once uses n bytes of an arena that is empty otherwise.
func (m *arenaBundle) once(n int) {
	m.t.Helper()
	room := m.a.Alloc(n)
	if room == nil {
		m.t.Fatalf("no room for %d bytes", n)
	}
	k := room[:n]
	k[0], k[n-1] = 1, 1
	at, ok := m.a.Keep(k)
	if !ok {
		m.t.Fatal("not kept")
	}
	if m.a.leases == nil {
		m.a.Free(at)
	} else {
		leaseWord(m.a.leases, at.slot).Store(at.lease)
	}
}

// TestArenaGivesPagesBack uses much of an arena, and then little: after a while the pages are the system's again, and
// not before, nor as long as much is used now and then.
func TestArenaGivesPagesBack(t *testing.T) {
	t.Parallel()
	for _, leases := range []bool{false, true} {
		t.Run(fmt.Sprintf("leases %v", leases), func(t *testing.T) {
			t.Parallel()
			const size, much, little = 64 << 20, 40 << 20, 100 << 10
			m := newArenaBundle(t, size, leasesSize, leases, 1)
			m.once(little)
			if b := m.blocks(); b > little+reserveStep+leasesSize {
				t.Errorf("%d bytes of pages for the first %d", b, little)
			}
			m.once(much)
			if b := m.blocks(); b < much {
				t.Errorf("%d bytes of pages for %d: a write could fail", b, much)
			}
			for range 3 { // it is restless as long as this goes on
				for range restless - 3 {
					m.once(little)
				}
				if b := m.blocks(); b < much {
					t.Fatalf("only %d bytes of pages are left, too early", b)
				}
				m.once(much)
			}
			for range restless + 3 {
				m.once(little)
			}
			if b := m.blocks(); b > 4*reserveStep {
				t.Errorf("%d bytes of pages are kept for %d", b, little)
			}
			m.once(much) // and now they are needed after all
			if b := m.blocks(); b < much {
				t.Errorf("%d bytes of pages for %d: a write could fail", b, much)
			}
			m.whole()
		})
	}
}

// TestArenaKeepsPagesInUse has an arena become empty many times but for its lower part, and be used above again: what is
// live is never given back to the system.
func TestArenaKeepsPagesInUse(t *testing.T) {
	t.Parallel()
	m := newArenaBundle(t, 8<<20, 0, false, 2)
	for range 2 * restless {
		for len(m.live) < 2 {
			m.put(600<<10, 200<<10)
		}
		for len(m.live) > 0 {
			m.take(len(m.live) - 1)
		}
		for range 3 {
			m.put(5000, 5000)
		}
		for len(m.live) > 0 {
			m.take(0)
		}
	}
	m.whole()
}

// TestArenaWithoutMemory has the system have no pages, or the arena no room: the answer is no, at once.
func TestArenaWithoutMemory(t *testing.T) {
	t.Parallel()
	m := newArenaBundle(t, 4<<20, 0, false, 3)
	fd := m.a.fd
	m.a.fd = -1 // finding pages fails
	if m.a.Alloc(1<<20) != nil {
		t.Error("room without pages")
	}
	m.a.fd = fd
	m.put(100_000, 100_000)
	m.a.fd = -1
	if room := m.a.Alloc(100_000); room == nil || cap(room) < 100_000 {
		t.Error("no room where there are pages")
	}
	for _, n := range []int{2 << 20, 4 << 20, 1 << 40, 1<<63 - 1} {
		if room := m.a.Alloc(n); cap(room) >= n {
			t.Errorf("room for %d bytes without pages", n)
		}
	}
	m.a.fd = fd
	for len(m.live) > 0 {
		m.take(0)
	}
	m.whole()

	none := newArena(-1, nil, 0, nil)
	if none.Alloc(0) != nil || none.Alloc(100) != nil || none.Holds(make([]byte, 5)) || none.Holds(nil) {
		t.Error("an arena of nothing has room")
	}
}

// TestArenaLeases has the peer keep as many places as there are words: more can't be lent, until one comes back. A word
// that was written for an earlier lease doesn't end this one.
func TestArenaLeases(t *testing.T) {
	t.Parallel()
	m := newArenaBundle(t, 2<<20, 0, true, 4)
	var lent []Place
	keep := func() (Place, bool) {
		t.Helper()
		room := m.a.Alloc(8)
		if room == nil {
			t.Fatal("the arena is full: the test is too large")
		}
		return m.a.Keep(binary.LittleEndian.AppendUint64(room, uint64(len(lent))))
	}
	slots := make(map[uint32]bool)
	for range leaseSlots {
		at, ok := keep()
		if !ok || at.slot >= leaseSlots || slots[at.slot] {
			t.Fatalf("place %d: %v, slot %d", len(lent), ok, at.slot)
		}
		slots[at.slot] = true
		lent = append(lent, at)
	}
	free := m.a.free[0]
	for range 3 {
		if at, ok := keep(); ok {
			t.Fatalf("one more place: %+v", at)
		}
	}
	if len(m.a.free) != 1 || m.a.free[0] != free || m.a.used != leaseSlots {
		t.Errorf("a place that was not kept is gone: %v, before %v", m.a.free, free)
	}
	back := lent[100]
	leaseWord(m.a.leases, back.slot).Store(back.lease)
	again, ok := keep()
	if !ok || again.slot != back.slot || again.lease == back.lease {
		t.Fatalf("%v, %+v after %+v", ok, again, back)
	}
	leaseWord(m.a.leases, back.slot).Store(back.lease) // late, and twice
	if at, ok := keep(); ok {
		t.Errorf("the word of an earlier lease ended a later one: %+v", at)
	}
	for i, at := range lent {
		if i == 100 {
			at = again
		}
		want := uint64(i)
		if i == 100 {
			want = leaseSlots
		}
		if got := binary.LittleEndian.Uint64(m.a.mem[at.Off:]); got != want {
			t.Fatalf("place %d holds %d", i, got)
		}
		leaseWord(m.a.leases, at.slot).Store(at.lease)
	}
	m.whole()
	for i := range m.a.slots { // numbers begin anew some day
		m.a.slots[i].number = 1<<32 - 2
		leaseWord(m.a.leases, uint32(i)).Store(1<<32 - 2)
	}
	for range 5 {
		at, ok := keep()
		if !ok || m.a.used != 1 {
			t.Fatalf("%v, %d used", ok, m.a.used)
		}
		leaseWord(m.a.leases, at.slot).Store(at.lease)
	}
	m.whole()
}
