def rewrite(
    block: bytes,
    columns: bytes,
    stamp_digits: int,
    step_us: int,
    origin_us: int,
    length_ms: int,
    key_us: int,
    /,
) -> tuple[bytes, bytes, bytes, bytes, int, int] | int: ...
