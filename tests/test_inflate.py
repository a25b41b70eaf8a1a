"""A zip, opened with distrust."""

from __future__ import annotations

import random
import threading
import zipfile
import zlib
from io import BytesIO

import pytest

from ares_notebook.binance.zips import lines_of
from ares_notebook.errors import BadAnswer

NAME = "BTCUSDT-1h-2024-01.csv"
TEXT = b"".join(b"%d,1.50,2.25\n" % (1_700_000_000_000 + at) for at in range(300))
MIB = 1 << 20


def pack(*members, method=zipfile.ZIP_DEFLATED):
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return sink.getvalue()


def inflate(data):
    return b"".join(lines_of(BytesIO(data), NAME, "http://x/a.zip"))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize(
    "text", [TEXT, TEXT[:-1], b"", b"\n", b"x"], ids=lambda text: str(len(text))
)
def test_a_sound_zip_gives_its_text(method, text):
    """Deflated or stored, with or without a last line end, the text comes out whole."""
    assert inflate(pack((NAME, text), method=method)) == text


def test_blocks_are_whole_lines():
    """No line is torn between two blocks, and none is larger than the bound allows."""
    chance = random.Random(5)  # noqa: S311 - no secret
    text = b"".join(b"%d,%d\n" % (at, chance.randrange(10**9)) for at in range(700_000))

    blocks = list(lines_of(BytesIO(pack((NAME, text))), NAME, "x"))

    assert b"".join(blocks) == text
    assert len(blocks) > 1
    assert all(block.endswith(b"\n") for block in blocks)
    assert max(map(len, blocks)) <= 5 * MIB


def test_a_large_text_is_inflated_ahead_and_whole():
    """While a block of a large file is worked on the next one is inflated, all come in order, and damage is told."""
    text = b"".join(b"%d,1.50,2.25\n" % at for at in range(10**7, 10**7 + 1_900_000))
    data = pack((NAME, text), method=zipfile.ZIP_STORED)
    is_ahead = threading.Event()

    class Watched(BytesIO):
        def read(self, size=-1):
            if threading.current_thread() is not threading.main_thread():
                reads.append(self.tell())
                if len(reads) > 1:
                    is_ahead.set()
            return super().read(size)

    reads: list[int] = []
    blocks = lines_of(Watched(data), NAME, "x")
    first = next(blocks)
    # Nobody asks for the second block, and it is read all the same.
    assert is_ahead.wait(60)
    assert first + b"".join(blocks) == text
    spoilt = data.replace(b"11000000,1.50", b"11000000,1.51")
    with pytest.raises(BadAnswer, match="its size is not the one in its directory"):
        inflate(spoilt)
    # Who reads no further leaves no thread behind.
    left = lines_of(BytesIO(data), NAME, "x")
    next(left)
    left.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("ahead")]


@pytest.mark.parametrize("extra", [0, 1, 17, 255, 258, 259, 32_768, 65_537])
def test_text_that_ends_just_beyond_a_block_is_whole(extra):
    """What the inflater holds back when a block is full comes with the next one."""
    line = b"1700000000000,1.50000000,2.25000000,%03d\n"
    text = b"".join(line % (at % 1000) for at in range(220_000))[: 8 * MIB + extra]

    assert inflate(pack((NAME, text))) == text


@pytest.mark.parametrize(
    "members",
    [
        (),
        ((NAME, TEXT), ("more.csv", TEXT)),
        (("other.csv", TEXT),),
        (("../" + NAME, TEXT),),
        (("/" + NAME, TEXT),),
        ((NAME.lower(), TEXT),),
        ((NAME + "/", b""),),
    ],
    ids=["none", "two", "other", "up", "root", "case", "folder"],
)
def test_a_zip_of_other_members_is_refused(members):
    """Exactly the one member of the right name may be in it."""
    with pytest.raises(BadAnswer, match=r"http://x/a\.zip"):
        inflate(pack(*members))


def test_one_name_twice_is_refused():
    """Two members of the right name are one too many."""
    with pytest.warns(UserWarning, match="Duplicate"):
        data = pack((NAME, TEXT), (NAME, TEXT))

    with pytest.raises(BadAnswer):
        inflate(data)


@pytest.mark.parametrize("data", [b"", b"PK", b"<html></html>", TEXT, b"\0" * 1000])
def test_what_is_no_zip_is_refused(data):
    """A page for browsers, or nothing at all, is no zip."""
    with pytest.raises(BadAnswer, match="is not a zip"):
        inflate(data)


def test_an_encrypted_member_is_refused():
    """A flag of encryption is believed; nothing is inflated."""
    data = bytearray(pack((NAME, TEXT)))
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(BadAnswer, match="encrypted"):
        inflate(bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(method):
    """Binance deflates; what does not is not from there."""
    with pytest.raises(BadAnswer, match="another way"):
        inflate(pack((NAME, TEXT), method=method))


def test_a_bomb_is_refused_before_it_is_inflated():
    """What says that it inflates a thousandfold is not begun."""
    bomb = pack((NAME, b"1" * (64 * MIB)))

    with pytest.raises(BadAnswer, match="no market data"):
        next(lines_of(BytesIO(bomb), NAME, "x"))


def test_a_bomb_that_lies_about_its_size_is_stopped():
    """What inflates to more than it says is refused before memory fills."""
    data = bytearray(pack((NAME, (b"1" * 99 + b"\n") * 300_000)))
    start = data.index(b"PK\x01\x02") + 24
    data[start : start + 4] = (1000).to_bytes(4, "little")
    blocks = lines_of(BytesIO(bytes(data)), NAME, "x")

    with pytest.raises(BadAnswer):
        next(blocks)


def test_a_line_without_end_is_refused():
    """Memory is bounded by the block even where no line ends."""
    chance = random.Random(5)  # noqa: S311 - no secret

    with pytest.raises(BadAnswer, match="a line of over"):
        inflate(pack((NAME, chance.randbytes(10 * MIB).replace(b"\n", b""))))


def test_a_wrong_checksum_is_refused():
    """Text that inflates well and is not what the directory's CRC says is refused."""
    data = pack((NAME, TEXT))
    crc = zlib.crc32(TEXT).to_bytes(4, "little")

    with pytest.raises(BadAnswer, match="its size is not the one"):
        inflate(data.replace(crc, b"\1\2\3\4"))


def test_any_flipped_bit_gives_the_text_or_an_error_of_ours():
    """Whatever single bit is wrong, the text is the right one or there is none."""
    text = TEXT[:90]
    data = pack((NAME, text))

    for at in range(len(data) * 8):
        broken = bytearray(data)
        broken[at // 8] ^= 1 << at % 8
        try:
            found = inflate(bytes(broken))
        except BadAnswer:
            continue
        assert found == text


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_half_a_zip_is_refused(share):
    """A zip that was cut anywhere is no zip."""
    data = pack((NAME, TEXT))

    with pytest.raises(BadAnswer):
        inflate(data[: int(len(data) * share)])


def test_bytes_before_the_zip_do_not_shift_it():
    """A zip that begins later in the file, as zipfile allows, gives the right text or none."""
    try:
        found = inflate(b"junk" * 10 + pack((NAME, TEXT)))
    except BadAnswer:
        return

    assert found == TEXT
