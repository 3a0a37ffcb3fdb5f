#!/usr/bin/env python3
"""Makes the pictures of the sample site, always the same: python3 make-pictures.py

Needs nothing but Python. The pictures are committed; this file says where they come from.
"""
import math, struct, zlib
from pathlib import Path

HERE = Path(__file__).parent / "pictures"


def png(path, width, height, pixel):
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows.extend(pixel(x, y))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b""))


def noise(x, y, seed):
    """Value noise in [0, 1): a hash at whole points, smooth between them."""
    def at(i, j):
        n = (i * 374761393 + j * 668265263 + seed * 2147483647) & 0xFFFFFFFF
        n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
        return ((n ^ (n >> 16)) & 0xFFFF) / 65536
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = at(i, j) * (1 - u) + at(i + 1, j) * u
    low = at(i, j + 1) * (1 - u) + at(i + 1, j + 1) * u
    return top * (1 - v) + low * v


def hills(x, y, seed, octaves=5):
    return sum(noise(x * 2**k, y * 2**k, seed + k) / 2 ** (k + 1) for k in range(octaves))


def mix(a, b, t):
    return tuple(round(p + (q - p) * t) for p, q in zip(a, b))


def ridge(width=640, height=400):
    """Ranges of hills, one behind the other, in morning haze."""
    ranges = [[height * (0.28 + 0.13 * k) - 120 * (hills(x / 130 + 9 * k, k * 3.7, 11 + k) - 0.5) for x in range(width)] for k in range(6)]
    far, near = (196, 205, 222), (34, 52, 70)
    def pixel(x, y):
        for k in range(5, -1, -1):
            if y >= ranges[k][x]:
                tone = mix(far, near, k / 5)
                return mix(tone, (226, 221, 222), 0.35 * max(0, 1 - (y - ranges[k][x]) / 90) * (1 - k / 6))
        return mix((247, 233, 216), (214, 219, 231), y / (height * 0.5))
    png(HERE / "ridge.png", width, height, pixel)


def field(width=640, height=400):
    """A field of heights with its contour lines."""
    low, high = (231, 236, 224), (96, 128, 104)
    def pixel(x, y):
        h = hills(x / 150, y / 150, 5)
        step = h * 18
        line = abs(step - round(step)) < 0.07
        tone = mix(low, high, max(0, min(1, (h - 0.2) * 1.6)))
        grain = hills(x / 2.5, y / 2.5, 77, 2) - 0.375
        tone = mix(tone, (60, 72, 64), max(0, min(1, 0.35 * grain + (0.45 if line else 0))))
        return tone
    png(HERE / "field.png", width, height, pixel)


def tide(width=960, height=420):
    """Curves that drift apart and together."""
    curves = []
    for k in range(48):
        points = []
        for x in range(0, width + 1, 12):
            t = x / width
            y = height / 2 + (k - 23.5) * 7.2 * (0.35 + 0.65 * math.sin(math.pi * t) ** 2)
            y += 46 * (hills(t * 3 + k * 0.035, k * 0.05, 3) - 0.5)
            points.append(f"{x} {y:.1f}")
        curves.append(f'<path d="M{" L".join(points)}" stroke-opacity="{0.25 + 0.6 * (1 - abs(k - 23.5) / 24):.2f}"/>')
    (HERE / "tide.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Drifting curves">\n'
        f'<rect width="{width}" height="{height}" fill="#f3f1ec"/>\n'
        '<g fill="none" stroke="#2d5b7a" stroke-width="1.4">\n' + "\n".join(curves) + "\n</g>\n</svg>\n"
    )


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    ridge()
    field()
    tide()
