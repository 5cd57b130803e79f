"""Payloads: whatever is dumped is loaded again, from a frame or an arena, and places are let go of exactly once."""

from __future__ import annotations

import array
import gc
import os
import pickle
import random
import socket
import struct
import threading

import pytest

from brine import _payload as payload
from brine import _pickle, _stored
from brine._arena import Arena
from brine._wire import ProtocolError

SIZE = 256 << 20


class Block:
    """What numpy's arrays are: bytes that travel out of band, and are referred to, not copied, on arrival."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other):
        return bytes(self.data) == bytes(other.data)


class Registered:
    pass


@pytest.fixture
def memory():
    fd = os.memfd_create("test")
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


@pytest.fixture
def arena(memory):
    return Arena(memory, 0, SIZE)


def value(rng, depth=0):
    """A random object."""
    kind = rng.randrange(9 if depth < 4 else 6)
    n = rng.choice((0, 1, 10, 5000, 70_000, 300_000, 1_200_000)) if rng.random() < 0.15 else rng.randrange(20)
    if kind == 0:
        return rng.choice((None, True, -1, 2**70, 1.5, "", b""))
    if kind == 1:
        return rng.randbytes(n) if hasattr(rng, "randbytes") else os.urandom(n)
    if kind == 2:
        return bytearray(n)
    if kind == 3:
        return "ä" * n
    if kind == 4:
        return Block(bytearray(os.urandom(n)))
    if kind == 5:
        return array.array("d", range(min(n, 1000)))
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind == 7:
        return tuple(value(rng, depth + 1) for _ in range(rng.randrange(5)))
    return {i: value(rng, depth + 1) for i in range(rng.randrange(5))}


@pytest.mark.parametrize("seed", range(60))
def test_round_trips(arena, memory, seed):
    rng = random.Random(seed)
    for _ in range(4):
        obj = value(rng)
        p = payload.dump(obj)
        assert p.size == sum(map(len, p.parts)) + sum(map(len, p.buffers))
        assert payload.load(payload.inline(p)) == obj
        off, length = payload.store(p, arena)
        assert length == payload.stored_size(p)
        done = []
        assert payload.load_stored(memory, off, length, SIZE, lambda d=done: d.append(1)) == obj
        gc.collect()
        assert done == [1]
        arena.free(off)
        raw, at = payload.body(p, arena)
        assert (at is None) == (p.size <= 4096)
        assert payload.load(memoryview(b"xx" + raw)[2:], memory) == obj
        if at is not None:
            assert raw[0] == 1 and len(raw) == 17
            arena.free(at)
    assert arena.in_use == 0


def test_large_bytes_are_not_copied():
    data = bytes(1 << 20)
    p = payload.dump(("head", data, [data]))
    assert sum(part is data for part in p.parts) == 1
    assert len(_pickle._idle) < 5 and all(not d.parts and not d.buffers for d in _pickle._idle)


def test_small_pickles_keep_their_pickler():
    payload.dump(1)
    before = list(_pickle._idle)
    assert payload.inline(payload.dump([1, 2])) == b"\0" + pickle.dumps([1, 2], 5)
    assert _pickle._idle == before


def test_nothing_stays_referred_to():
    class Here:
        def __reduce__(self):
            return str, ("x",)

    import weakref

    here = Here()
    ref = weakref.ref(here)
    payload.dump([here])
    del here
    assert ref() is None


def test_buffers_are_out_of_band_from_4_kib_on():
    assert payload.dump(Block(bytearray(4095))).buffers == []
    data = bytearray(4096)
    (buffer,) = payload.dump(Block(data)).buffers
    assert buffer.obj is data
    raw = payload.inline(payload.dump(Block(data)))
    assert raw[:13] == struct.pack("<BIQ", 2, 1, len(payload.dump(Block(data)).parts[0]))


def test_buffers_that_are_mapped(arena, memory):
    data = bytearray(os.urandom(3 << 20))
    off, length = payload.store(payload.dump([Block(data), Block(bytes(data))]), arena)
    done, mappings = [], []
    a, b = payload.load_stored(memory, off, length, SIZE, lambda: done.append(1), mappings)
    assert len(mappings) == 2 and not done
    assert bytes(a.data) == data and not a.data.readonly
    assert b.data.readonly
    a.data[5] = a.data[5] ^ 255  # its own copy
    assert payload.load_stored(memory, off, length, SIZE)[0].data == data
    view = a.data[10:20]
    del a
    assert not done
    del b
    assert not done and mappings[0]() is not None and mappings[1]() is None
    del view
    assert done == [1] and mappings[0]() is None


def test_privatized_mappings_stay_as_they_are(arena, memory):
    data = os.urandom((2 << 20) + 123)
    off, length = payload.store(payload.dump([Block(bytearray(data)), Block(data)]), arena)
    mappings = []
    a, b = payload.load_stored(memory, off, length, SIZE, None, mappings)
    a.data[0:4] = b"mine"
    del b
    _stored.detach(mappings)
    assert mappings == []
    arena.write(off, [bytes(length)])
    assert bytes(a.data) == b"mine" + data[4:]


def test_more_mappings_than_descriptors_allow(arena, memory, monkeypatch):
    monkeypatch.setattr(_stored, "_MOST", 0)
    data = bytearray(os.urandom(5 << 20))
    off, length = payload.store(payload.dump(Block(data)), arena)
    done, mappings = [], []
    got = payload.load_stored(memory, off, length, SIZE, lambda: done.append(1), mappings)
    assert done == [1] and mappings == []
    assert got.data == data and not got.data.readonly


def test_many_large_buffers(arena, memory):
    blocks = [Block(bytearray([i % 256]) * (1 << 20)) for i in range(100)]
    off, length = payload.store(payload.dump(blocks), arena)
    held = [payload.load_stored(memory, off, length, SIZE) for _ in range(5)]
    assert all(h == blocks for h in held)
    del held
    gc.collect()
    assert not _stored._Mapping.live


def test_large_pickles_are_read_in_place(arena, memory):
    obj = [os.urandom(5 << 20), "s" * (1 << 20), list(range(200_000)), bytearray(1 << 20)]
    off, length = payload.store(payload.dump(obj), arena)
    assert payload.load_stored(memory, off, length, SIZE) == obj


def test_old_protocols_can_be_read_from_an_arena(arena, memory):
    raw = pickle.dumps({"a": ["x" * 400_000, Registered]}, 0)
    off, length = payload.store(payload.Payload([raw], []), arena)
    assert payload.load_stored(memory, off, length, SIZE) == {"a": ["x" * 400_000, Registered]}


def test_release_after_an_error(arena, memory):
    raw = b"\x80\x05cnosuchmodule\nname\n."
    off, length = payload.store(payload.Payload([raw], [memoryview(bytes(2 << 20))]), arena)
    done = []
    with pytest.raises(ModuleNotFoundError):
        payload.load_stored(memory, off, length, SIZE, lambda: done.append(1))
    gc.collect()
    assert done == [1]
    with pytest.raises(ProtocolError):
        payload.load_stored(memory, off + 1, length, SIZE, lambda: done.append(1))
    assert done == [1, 1]


def test_release_is_not_for_forked_children(arena, memory):
    r, w = os.pipe()
    off, length = payload.store(payload.dump(Block(bytearray(2 << 20))), arena)
    got = payload.load_stored(memory, off, length, SIZE, lambda: os.write(w, b"x"))
    pid = os.fork()
    if pid == 0:
        del got
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.set_blocking(r, False)
    with pytest.raises(BlockingIOError):
        os.read(r, 1)
    del got
    assert os.read(r, 9) == b"x"
    os.close(r)
    os.close(w)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x03", b"\x01", b"\x01" + bytes(16), b"\x02", b"\x02" + b"\xff" * 12, struct.pack("<BIQQ", 2, 1, 4, 2**63)],
)
def test_bodies_that_are_wrong(raw, memory):
    with pytest.raises(ProtocolError):
        payload.load(raw, memory)


def test_stored_payload_without_an_arena():
    with pytest.raises(ProtocolError):
        payload.load(b"\x01" + bytes(16))


def test_damaged_stored_payloads(arena, memory):
    rng = random.Random(3)
    off, length = payload.store(payload.dump([Block(bytearray(5000)), Block(bytearray(6000))]), arena)
    good = os.pread(memory, length, off)
    for _ in range(2000):
        raw = bytearray(good)
        raw[rng.randrange(32)] = rng.randrange(256)
        arena.write(off, [raw])
        try:
            payload.load_stored(memory, off, rng.choice((length, length, 31, 100)), SIZE)
        except (ProtocolError, pickle.UnpicklingError, EOFError):
            pass


@pytest.mark.parametrize("off,length", [(0, SIZE + 1), (SIZE, 4096), (2**63, 4096), (4096, 2**64 - 4096), (0, 3)])
def test_places_outside_the_memory(memory, off, length):
    with pytest.raises(ProtocolError):
        payload.load_stored(memory, off, length, SIZE)


@pytest.fixture
def sharing():
    """Ends what multiprocessing starts in the background when it sends a socket."""
    from multiprocessing import resource_sharer

    yield
    resource_sharer.stop()


def test_what_multiprocessing_can_send(sharing):
    a, b = socket.socketpair()
    with a, b:
        # Sockets travel by the resource sharer, a reducer that only multiprocessing's pickler knows.
        p = payload.dump(a)
        c = payload.load(payload.inline(p))
        with c:
            c.send(b"x")
        assert b.recv(1) == b"x"


def test_reducers_registered_later():
    from multiprocessing.reduction import ForkingPickler

    payload.dump(1)
    ForkingPickler.register(Registered, lambda r: (int, (5,)))
    assert payload.load(payload.inline(payload.dump(Registered()))) == 5
    del ForkingPickler._extra_reducers[Registered]


def test_closures_go_by_value():
    pytest.importorskip("cloudpickle")
    n = 3
    assert payload.load(payload.inline(payload.dump(lambda x: x + n)))(4) == 7
    assert payload.dump(value).length < 200 < payload.dump(lambda x: x + n).length


def test_by_value_knows_sockets_too(sharing):
    pytest.importorskip("cloudpickle")
    a, b = socket.socketpair()
    with a, b:
        with payload.load(payload.inline(payload.dump(a, by_value=True))) as c:
            c.send(b"x")
        assert b.recv(1) == b"x"


def test_first_error_is_raised():
    with pytest.raises(TypeError, match="lock"):
        payload.dump([1, threading.Lock()])
    assert payload.load(payload.inline(payload.dump(1))) == 1


def test_reduce_that_dumps():
    class Outer:
        def __reduce__(self):
            return int, (payload.dump(7).length,)

    assert payload.load(payload.inline(payload.dump([Outer(), Outer()]))) == [len(pickle.dumps(7, 5))] * 2


def test_another_pickler():
    made = []

    def make(file, protocol, buffer_callback=None):
        made.append(protocol)
        return pickle._Pickler(file, protocol, buffer_callback=buffer_callback)

    obj = [Block(bytearray(5000)), b"x" * 100_000]
    assert payload.load(payload.inline(payload.dump(obj, make))) == obj
    assert made == [5]


def test_arrays_of_numpy(arena, memory):
    np = pytest.importorskip("numpy")
    for a in (
        np.arange(10),
        np.arange(3000),
        np.ones((700, 800)),
        np.asfortranarray(np.ones((700, 801))),
        np.ones((900, 900))[::2],
    ):
        off, length = payload.store(payload.dump({"a": a}), arena)
        got = payload.load_stored(memory, off, length, SIZE)["a"]
        assert (got == a).all() and got.flags.writeable
        got += 1
        assert (payload.load(payload.inline(payload.dump(a))) == a).all()
