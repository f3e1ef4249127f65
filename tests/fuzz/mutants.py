"""Changes to bytes, and odd values."""

import random

ODD = (
    *(
        "",
        "0",
        "-1",
        "1",
        "3",
        "1000",
        "1000000",
        "1e308",
        "1e999",
        "-0.0",
        "nan",
        "inf",
        "1_0",
        "0x_",
        "0b11",
        "true",
        "false",
        "null",
    ),
    *("9223372036854775807", "9223372036854775808", "2026-01-01", "2026-13-01", "0001-01-01T00:00:00", "12:00:00"),
    *(
        '"adam"',
        '"lsq"',
        '"\\ud800"',
        '"\\u0000"',
        '"\\u001b[31m"',
        "'x'",
        '"""a\nb"""',
        '"../x"',
        '"a b"',
        '"é"',
        "\udcff",
    ),
    *("[]", "[[]]", "[1]", "[1, 2]", "[[4, 4]]", "[[32, 32], [2, 2]]", "[nan]", "[{}]", '["adam", "sgd"]', '["", 1]'),
    *("{}", "{ a = 1 }", "{ low = 1, high = 2 }", "{ low = 8, high = 64 }", "{ a.b.c = 1 }", "{ a = { b = [] } }"),
    *("9" * 400, "9" * 5_000, "0x" + "f" * 5_000, "1." + "0" * 5_000, "[" * 50 + "]" * 50, "[" * 5_000 + "]" * 5_000),
    *(
        "[" + ", ".join(f"[{a}, {b}]" for a in range(2, 9) for b in range(2, 9)) + "]",
        '["adam", "sgd", "lion", "soap"]',
    ),
    *(
        "{a=" * 2_000 + "1" + "}" * 2_000,
        '"' + "x" * 100_000 + '"',
        "[" + "1, " * 20_000 + "]",
        "{" + "a." * 2_000 + "a=1}",
    ),
)
"""Values of TOML, some of them wrong."""


def odd_text(chance: random.Random) -> str:
    """A value of a TOML file, or of --set."""
    return chance.choice(ODD)


def changed_bytes(chance: random.Random, content: bytes, *, within: tuple[int, int] | None = None) -> bytes:
    """A content with some bytes flipped, removed, repeated, put in or cut off, all `within` a part of it."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        low, high = within or (0, len(found))
        place = chance.randrange(low, max(low + 1, min(high, len(found))))
        size = chance.choice((1, 1, 2, 4, 8, 64, 1_000))
        kind = chance.randrange(7)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << chance.randrange(8)
        elif kind == 1 and place < len(found):
            found[place] = chance.choice((0, 255, 127, 128, 34, 91, 93, 10, chance.randrange(256)))
        elif kind == 2:
            del found[place : place + size]
        elif kind == 3:
            found[place:place] = bytes(chance.randrange(256) for _ in range(min(size, 64)))
        elif kind == 4:
            found[place:place] = found[place : place + size]
        elif kind == 5:
            found[place : place + size] = bytes(min(size, len(found) - place))
        elif chance.random() < 0.3:
            del found[place:]
    return bytes(found)
