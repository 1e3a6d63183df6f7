"""Content with a checksum behind it: a file that is cut short or has a flipped bit is not read."""

from __future__ import annotations

import hashlib

DIGEST = hashlib.sha256().digest_size


def sealed(content: bytes) -> bytes:
    """``content`` and its SHA-256."""
    return content + hashlib.sha256(content).digest()


def unsealed(stored: bytes) -> bytes | None:
    """What was sealed; None where ``stored`` is not as it was written."""
    content, digest = stored[:-DIGEST], stored[-DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None
