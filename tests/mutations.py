"""Files and fields that are damaged at random, for readers to refuse; what a reader may answer.

A reader either reads what it is given or raises a ``ValueError`` of one line, in little time.
"""

import json
import time

SECONDS = 1.0  # that a reader may take, on a busy machine ten times that
STRANGE = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "4",
    "\x00",
    "a\nb",
    "\ud800",
    "../../etc/passwd",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
)


def mutated_bytes(rng, content, most=4):
    """Bytes with some changes: flipped, cut, repeated, overwritten with extreme numbers.

    Args:
      rng: of numpy.
      content: bytes.
      most: changes.
    """
    content = bytearray(content)
    for _ in range(rng.integers(1, most + 1)):
        place = int(rng.integers(0, len(content) + 1))
        # Headers come first, and say the most.
        if rng.random() < 0.5:
            place = min(place, int(rng.integers(0, 256)))
        length = int(rng.integers(1, 17))
        match rng.integers(0, 6):
            case 0:
                content[place : place + 1] = rng.bytes(1)
            case 1:
                content[place : place + length] = rng.bytes(length)
            case 2:
                del content[place:]
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length]
            case _:
                extreme = (2**64 - 1, 2**63, 2**31, 10**13, 0)[int(rng.integers(0, 5))]
                content[place : place + 8] = extreme.to_bytes(8, "little")
    return bytes(content)


def mutated_value(rng, value):
    """A value of JSON in which something is removed, added, or of another type or size."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = list(value)[int(rng.integers(0, len(value)))]
        others = {key: item for key, item in value.items() if key != name}
        match rng.integers(0, 4):
            case 0:
                return others
            case 1:
                return {**others, name: strange(rng)}
            case 2:
                return {**value, f"{name}_x": strange(rng)}
            case _:
                return {**others, name: mutated_value(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = int(rng.integers(0, len(value)))
        return [*value[:place], mutated_value(rng, value[place]), *value[place + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return value * (2, -1, 0.5, 10**9)[int(rng.integers(0, 4))]
    return strange(rng)


def strange(rng):
    """A value that hardly any field may have."""
    return STRANGE[int(rng.integers(0, len(STRANGE)))]


def mutated_json(rng, content):
    """Bytes of JSON with another value somewhere, or a mark, or broken."""
    text = json.dumps(mutated_value(rng, json.loads(content)))
    match rng.integers(0, 8):
        case 0:
            return mutated_bytes(rng, text.encode())
        case 1:
            return b"\xef\xbb\xbf" + text.encode()
        case 2:
            return b"[" * int(rng.integers(1, 100_000))
        case _:
            return text.encode()


def answered(reader, *arguments, seconds=10 * SECONDS):
    """What a reader did, ``"read"`` or the line of its refusal; anything else is an error."""
    begun = time.perf_counter()
    try:
        reader(*arguments)
        said = "read"
    except ValueError as error:
        said = str(error)
        assert "expected " in said, f"no refusal: {said!r}"
        assert "\n" not in said, f"several lines: {said!r}"
        assert len(said) < 2000, f"a long line: {said[:200]!r}"
    took = time.perf_counter() - begun
    assert took < seconds, f"{took:.1f} s: {said[:200]!r}"
    return said
