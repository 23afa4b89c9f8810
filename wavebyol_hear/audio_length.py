"""What the header of an audio file says of its length, held against the bytes that are there.

libsndfile takes the length of a WAV, AIFF, AU, W64 or Ogg file that was cut off from what is left,
and guesses that of an MP3 file without a tag from its first frame.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

UNKNOWN = (0, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF, 0xFFFFFFFF - 36)
"""Sizes of a data chunk that a recorder writes before it knows better, and some never fill in."""
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
MAX_CHUNKS = 10_000
OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes that a page of an Ogg file has at most."""
SLOPPY_BYTES = 64
"""Some writers count their own header in: not more than this is missing in a whole file."""

MP3_RATES = ((11_025, 12_000, 8_000), (), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
"""In Hz, by version (2.5, none, 2, 1)."""
MP3_KBIT = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By whether the version is 1."""


def size_of(file: BinaryIO) -> int:
    """Return the size of a file in bytes."""
    return file.seek(0, io.SEEK_END)


def data_chunk(file: BinaryIO) -> tuple[int, int] | None:
    """Return where the samples begin and how many bytes of them the header promises.

    Args:
        file: any; only WAV, RF64, W64, AIFF and AU are looked into.

    Returns:
        None for other formats, and where the header does not say.
    """
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        order = ">" if head[:4] == b"RIFX" else "<"
        wide = 0
        for name, at, size in _chunks(file, 12, f"{order}4sI", 2):
            if name == b"ds64":
                file.seek(at)
                wide = int.from_bytes(file.read(16)[8:], "little")
            if name == b"data":
                return at, wide if size == 0xFFFFFFFF and wide else size
    elif head[:4] == b"riff" and head[24:28] == b"wave":
        for name, at, size in _chunks(file, 40, "<16sQ", 8):
            if name == W64_DATA:
                return at, size - 24
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        for name, at, size in _chunks(file, 12, ">4sI", 2):
            if name == b"SSND":
                return at + 8, size - 8
    elif head[:4] in (b".snd", b"dns."):
        start, size = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:12])
        return start, size
    return None


def _chunks(file: BinaryIO, at: int, form: str, align: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset of the content and size of each chunk; W64's sizes include the header."""
    length = struct.calcsize(form)
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(length)
        if len(head) < length:
            return
        name, size = struct.unpack(form, head)
        yield name, at + length, size
        at += max(length, size) if length == 24 else length + size
        at += -at % align


def missing_bytes(file: BinaryIO) -> int:
    """Return how many bytes of samples the header promises that are not there, 0 for none."""
    chunk = data_chunk(file)
    if chunk is None:
        return _missing_of_ogg(file)
    if chunk[1] in UNKNOWN:
        return 0
    missing = sum(chunk) - size_of(file)
    return missing if missing > SLOPPY_BYTES else 0


def _missing_of_ogg(file: BinaryIO) -> int:
    """Return how many bytes of an Ogg file's last page are not there."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return 0
    size = size_of(file)
    file.seek(max(0, size - OGG_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    table = tail[at + 27 : at + 27 + tail[at + 26]] if at + 26 < len(tail) else b""
    if at < 0 or not table:
        return 1
    end = at + 27 + len(table) + sum(table)
    rest = tail[end : end + 4]
    begun = bool(rest) and b"OggS".startswith(rest)  # cut within the next page's first bytes
    return max(int(begun), end - len(tail))


def with_length(file: BinaryIO) -> BinaryIO:
    """Return a file whose header says its length: itself, or a copy in memory with that repaired.

    These are WAV files whose length was never filled in, and MP3 files without a tag.

    Raises:
        EOFError: the last frame of an MP3 file is cut off.
    """
    chunk = data_chunk(file)
    if chunk is not None:
        begin, size = chunk
        left = size_of(file) - begin
        file.seek(0)
        if size != 0 or left <= 0 or file.read(4) != b"RIFF" or _is_chunk(file, begin):
            return file
        file.seek(0)
        content = bytearray(file.read())
        content[begin - 4 : begin] = struct.pack("<I", left)
        content[4:8] = struct.pack("<I", len(content) - 8)
        return io.BytesIO(content)
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3" or (len(head) > 4 and frame_bytes(head[:4])):
        file.seek(0)
        return io.BytesIO(mp3_with_length(file.read()))
    return file


def _is_chunk(file: BinaryIO, at: int) -> bool:
    """Return whether a chunk starts at an offset and the last one ends where the file does."""
    ends = [begin + size for _, begin, size in _chunks(file, at, "<4sI", 2)]
    return bool(ends) and ends[-1] in (size_of(file), size_of(file) + 1)


def frame_bytes(head: bytes) -> int:
    """Return the length of an MP3 frame from its first four bytes; 0 where they begin none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] & 6 != 2:
        return 0
    version, kbit, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbit in (0, 15) or rate == 3:
        return 0
    first = version == 3
    bits = MP3_KBIT[first][kbit] * 1000
    return (144 if first else 72) * bits // MP3_RATES[version][rate] + (head[2] >> 1 & 1)


def mp3_with_length(data: bytes) -> bytes:
    """Return an MP3 file with a tag that says the number of its frames, where it has none.

    Args:
        data: of the file.

    Raises:
        EOFError: the last frame is cut off.
    """
    begin = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        size = sum((data[6 + i] & 0x7F) << (21 - 7 * i) for i in range(4))
        begin = size + 10
    at, count = begin, 0
    while length := frame_bytes(data[at : at + 4]):
        if count == 0 and any(tag in data[at : at + 64] for tag in (b"Xing", b"Info", b"VBRI")):
            return data
        if at + length > len(data):
            raise EOFError(f"in the last of {count + 1} frames")
        at, count = at + length, count + 1
    if count < 2:
        return data
    first, mono = data[begin + 1] >> 3 & 3 == 3, data[begin + 3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    kbit = 5 if first else 8  # 64 kbit/s: a frame that has room
    head = bytes([0xFF, data[begin + 1] | 1, kbit << 4 | data[begin + 2] & 0x0C, data[begin + 3]])
    tag = head + bytes(side) + b"Info" + struct.pack(">II", 1, count)
    return data[:begin] + tag.ljust(frame_bytes(head), b"\0") + data[begin:]
