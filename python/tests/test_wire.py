"""Frames and encoded errors: what is written is read again, and what is wrong is refused."""

from __future__ import annotations

import random
import struct

import pytest

from brine import _wire as wire


def test_header_has_the_fields_of_the_protocol():
    raw = wire.frame(wire.CHUNK, b"xyz", count=2, flags=1, epoch=3, chunk=4, first=5, func=6)
    assert len(raw) == wire.HEADER_SIZE + 3
    assert raw[:8] == struct.pack("<II", 3, 2)
    assert raw[8:12] == bytes([4, 1, 0, 0])
    assert raw[12:32] == struct.pack("<IQII", 3, 4, 5, 6)
    assert raw[32:] == b"xyz"


def test_text():
    raw = wire.text("grün") + wire.text(b"\x00\xff") + wire.text("\ud800")
    assert wire.take_text(raw, 0) == ("grün", 9)
    assert wire.take_bytes(raw, 9) == (b"\x00\xff", 15)
    assert wire.take_text(memoryview(raw), 15)[0] == "\\ud800"


def test_text_that_ends_too_early():
    raw = wire.text("abc")
    for n in range(len(raw)):
        with pytest.raises(wire.ProtocolError):
            wire.take_text(raw[:n], 0)
    with pytest.raises(wire.ProtocolError):
        wire.take_text(raw, len(raw))


@pytest.mark.parametrize("concrete", [None, b"", b"pickle"])
def test_errors(concrete):
    raw = wire.encode_error(ValueError("no"), concrete=concrete)
    assert wire.decode_error(raw) == ("ValueError", "no", concrete)
    raw = wire.encode_error(None, "a.B", "text", concrete)
    assert wire.decode_error(memoryview(raw)) == ("a.B", "text", concrete)


def test_error_with_sentinels_of_another_language():
    raw = wire.text("t") + wire.text("m") + struct.pack("<I", 2) + wire.text("io.EOF") + wire.text("x")
    assert wire.decode_error(raw + struct.pack("<I", 0xFFFFFFFF)) == ("t", "m", None)


def test_error_names_its_class_and_survives_a_bad_str():
    class Bad(Exception):
        def __str__(self):
            raise RuntimeError

    kind, message, _ = wire.decode_error(wire.encode_error(Bad()))
    assert kind.endswith("Bad") and kind.startswith(__name__)
    assert "RuntimeError" in message


def test_random_bytes_are_an_error_or_a_value():
    rng = random.Random(7)
    good = wire.encode_error(ValueError("no"), concrete=b"pickle")
    for _ in range(3000):
        raw = bytearray(good[: rng.randrange(len(good) + 1)])
        for _ in range(rng.randrange(4)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            wire.decode_error(bytes(raw))
        except wire.ProtocolError:
            pass
