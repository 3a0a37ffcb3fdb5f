"""CBOR (RFC 8949), read strictly: one value, nothing behind it, no key twice, at most sixteen levels."""

import io
import struct


class Malformed(Exception):
    """The bytes are not such a value."""


class Tagged:
    """A value under a tag."""

    def __init__(self, tag, value):
        self.tag, self.value = tag, value


def read(data, depth=16):
    """The one value that these bytes hold. Maps become dicts; a key that stands twice is malformed."""
    stream = io.BytesIO(data)
    value = _value(stream, depth)
    if stream.read(1):
        raise Malformed("bytes behind its end")
    return value


def _take(stream, count):
    if count > 1 << 20:
        raise Malformed("too long")
    part = stream.read(count)
    if len(part) != count:
        raise Malformed("it ends too early")
    return part


def _value(stream, depth):
    if depth < 0:
        raise Malformed("too deep")
    first = _take(stream, 1)[0]
    major, low = first >> 5, first & 0x1F
    if major == 7:
        return _simple(stream, low)
    if low < 24:
        length = low
    elif low < 28:
        length = int.from_bytes(_take(stream, 1 << (low - 24)), "big")
    elif low == 31 and major in (2, 3, 4, 5):
        return _indefinite(stream, major, depth)
    else:
        raise Malformed("a reserved length")
    if major == 0:
        return length
    if major == 1:
        return -1 - length
    if major == 2:
        return _take(stream, length)
    if major == 3:
        return _text(_take(stream, length))
    if major == 4:
        return [_value(stream, depth - 1) for _ in range(_count(length))]
    if major == 5:
        pairs = [(_value(stream, depth - 1), _value(stream, depth - 1)) for _ in range(_count(length))]
        return _map(pairs)
    return Tagged(length, _value(stream, depth - 1))


def _count(length):
    if length > 1 << 16:
        raise Malformed("too many")
    return length


def _text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("no UTF-8") from error


def _map(pairs):
    result = {}
    for key, value in pairs:
        if isinstance(key, (list, dict, Tagged)):
            raise Malformed("a key that is no key")
        # In Python 1, 1.0 and True are one key; here they are not.
        if any(type(key) is type(present) and key == present for present in result):
            raise Malformed("a key twice")
        result[key] = value
    return result


def _simple(stream, low):
    if low in (20, 21):
        return low == 21
    if low in (22, 23):
        return None
    if low in (25, 26, 27):
        size = {25: 2, 26: 4, 27: 8}[low]
        return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], _take(stream, size))[0]
    raise Malformed("an unknown simple value")


_BREAK = 0xFF


def _indefinite(stream, major, depth):
    items = []
    while True:
        if _take(stream, 1)[0] == _BREAK:
            break
        stream.seek(-1, io.SEEK_CUR)
        items.append(_value(stream, depth - 1))
        _count(len(items))
    if major == 4:
        return items
    if major == 5:
        if len(items) % 2:
            raise Malformed("a key without a value")
        return _map(list(zip(items[::2], items[1::2])))
    kind = bytes if major == 2 else str
    if not all(isinstance(item, kind) for item in items):
        raise Malformed("a part of another kind")
    return kind().join(items)
