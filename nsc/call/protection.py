"""SRTP (RFC 3711) with a key that both ends have, where pylibsrtp is installed."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, Final, Protocol

from nsc.errors import UserError

KEY_BYTES: Final = 30  # master key of 16 and salt of 14, of AES_CM_128_HMAC_SHA1_80
MAKE_ONE: Final = f"make one by: openssl rand -base64 {KEY_BYTES}"


class Protection(Protocol):
    """What is done to a datagram on its way."""

    def seal(self, data: bytes, *, control: bool) -> bytes | None:
        """The datagram as it is sent, RTCP if `control`; None if it is too long."""
        ...

    def opened(self, data: bytes, *, control: bool) -> bytes | None:
        """The datagram as it was, None if it is not of this key or has come before."""
        ...


class Unprotected:
    """RTP as it is."""

    def seal(self, data: bytes, *, control: bool) -> bytes | None:
        return data

    def opened(self, data: bytes, *, control: bool) -> bytes | None:
        return data


class Srtp:
    """Encryption, authentication and protection from replay by libsrtp."""

    def __init__(self, key: bytes) -> None:
        """Begins both directions with one master key and salt.

        Raises:
            UserError: pylibsrtp is not installed.
        """
        try:
            import pylibsrtp
        except ImportError:
            line = "expected pylibsrtp for a call with a key, found none; pip install pylibsrtp, or leave out --key"
            raise UserError(line) from None
        policy = pylibsrtp.Policy
        self._failures: Any = (pylibsrtp.Error, ValueError)  # the second: longer than any packet of RTP
        self._sent = pylibsrtp.Session(policy(key, policy.SSRC_ANY_OUTBOUND))
        self._received = pylibsrtp.Session(policy(key, policy.SSRC_ANY_INBOUND))

    def seal(self, data: bytes, *, control: bool) -> bytes | None:
        return self._done(self._sent.protect_rtcp if control else self._sent.protect, data)

    def opened(self, data: bytes, *, control: bool) -> bytes | None:
        return self._done(self._received.unprotect_rtcp if control else self._received.unprotect, data)

    def _done(self, work: Any, data: bytes) -> bytes | None:
        try:
            return bytes(work(data))
        except self._failures:
            return None


def protection_of(key_file: str | None) -> Protection:
    """SRTP with the key in a file, base64 as in `a=crypto` (RFC 4568), or none without a file.

    Raises:
        UserError: there is no such key, or no pylibsrtp.
    """
    if key_file is None:
        return Unprotected()
    try:
        text = Path(key_file).read_bytes()
    except OSError as error:
        line = f"expected a file {key_file} with a key, found none that can be read ({error.strerror}); {MAKE_ONE}"
        raise UserError(line) from None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise UserError(f"{key_file}: expected a key of {KEY_BYTES} bytes in base64, found another; {MAKE_ONE}")
    return Srtp(key)
