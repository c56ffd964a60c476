"""Just enough PNG to look at what Chromium painted: 8-bit RGB or RGBA, not interlaced."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """Pixels by row, three bytes each."""

    width: int
    height: int
    rows: list[bytes]

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        red, green, blue = self.rows[y][3 * x : 3 * x + 3]
        return red, green, blue

    def crop(self, top: int, height: int) -> "Picture":
        rows = self.rows[top : top + height]
        return Picture(self.width, len(rows), rows)

    def write(self, path: Path) -> None:
        raw = zlib.compress(b"".join(b"\0" + row for row in self.rows), 6)
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = b"".join(_chunk(name, body) for name, body in ((b"IHDR", head), (b"IDAT", raw), (b"IEND", b"")))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def read_png(path: Path) -> Picture:
    """The picture, without its alpha channel."""
    data, at, compressed = path.read_bytes(), 8, b""
    width = height = channels = 0
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if name == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert (depth, interlace) == (8, 0)
            channels = {2: 3, 6: 4}[colour]
        elif name == b"IDAT":
            compressed += body
        at += length + 12
    return Picture(width, height, _unfilter(zlib.decompress(compressed), width, height, channels))


def _unfilter(raw: bytes, width: int, height: int, channels: int) -> list[bytes]:
    stride, before, rows = width * channels, bytearray(width * channels), []
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        _undo(raw[start], line, before, channels)
        before = line
        rows.append(bytes(line) if channels == 3 else b"".join(line[x : x + 3] for x in range(0, stride, 4)))
    return rows


def _undo(kind: int, line: bytearray, above: bytearray, step: int) -> None:
    for i in range(len(line)) if kind else ():
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        match kind:
            case 1:
                guess = left
            case 2:
                guess = above[i]
            case 3:
                guess = (left + above[i]) // 2
            case _:
                guess = _paeth(left, above[i], corner)
        line[i] = (line[i] + guess) & 0xFF


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
