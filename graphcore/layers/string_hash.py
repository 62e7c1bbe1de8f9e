"""Hashes of bytes that TensorFlow and so Keras use: FarmHash's 64-bit fingerprint and SipHash-2-4.

Pike, Alakuijala: FarmHash, 2014 (its `farmhashna::Hash64`). Aumasson, Bernstein: SipHash, 2012.
"""

from __future__ import annotations

import struct

__all__ = ["farm_hash", "sip_hash"]

MASK = (1 << 64) - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _rotate(x: int, bits: int) -> int:
    x &= MASK
    return ((x >> bits) | (x << (64 - bits))) & MASK if bits else x


def _word(s: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", s, at)[0])


def _half(s: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", s, at)[0])


def _shift_mix(x: int) -> int:
    x &= MASK
    return x ^ (x >> 47)


def _mix(u: int, v: int, mul: int) -> int:
    a = _shift_mix(((u ^ v) & MASK) * mul)
    return (_shift_mix(((v ^ a) & MASK) * mul) * mul) & MASK


def farm_hash(s: bytes) -> int:
    """The fingerprint of a string, 0 to 2**64 - 1."""
    if len(s) <= 16:
        return _up_to_16(s)
    if len(s) <= 32:
        mul = K2 + len(s) * 2
        a, b, c, d = _word(s, 0) * K1, _word(s, 8), _word(s, len(s) - 8) * mul, _word(s, len(s) - 16) * K2
        u = _rotate(a + b, 43) + _rotate(c, 30) + d
        return _mix(u & MASK, (a + _rotate(b + K2, 18) + c) & MASK, mul & MASK)
    return _up_to_64(s) if len(s) <= 64 else _long(s)


def _up_to_16(s: bytes) -> int:
    length = len(s)
    if length >= 8:
        mul = (K2 + length * 2) & MASK
        a, b = (_word(s, 0) + K2) & MASK, _word(s, length - 8)
        c, d = (_rotate(b, 37) * mul + a) & MASK, ((_rotate(a, 25) + b) * mul) & MASK
        return _mix(c, d, mul)
    if length >= 4:
        mul = (K2 + length * 2) & MASK
        return _mix((length + (_half(s, 0) << 3)) & MASK, _half(s, length - 4), mul)
    if length > 0:
        y = s[0] + (s[length >> 1] << 8)
        z = length + (s[length - 1] << 2)
        return (_shift_mix((y * K2) ^ (z * K0)) * K2) & MASK
    return K2


def _up_to_64(s: bytes) -> int:
    length = len(s)
    mul = (K2 + length * 2) & MASK
    a, b = (_word(s, 0) * K2) & MASK, _word(s, 8)
    c, d = (_word(s, length - 8) * mul) & MASK, (_word(s, length - 16) * K2) & MASK
    y = (_rotate(a + b, 43) + _rotate(c, 30) + d) & MASK
    z = _mix(y, (a + _rotate(b + K2, 18) + c) & MASK, mul)
    e, f = (_word(s, 16) * mul) & MASK, _word(s, 24)
    g, h = ((y + _word(s, length - 32)) * mul) & MASK, ((z + _word(s, length - 24)) * mul) & MASK
    return _mix((_rotate(e + f, 43) + _rotate(g, 30) + h) & MASK, (e + _rotate(f + a, 18) + g) & MASK, mul)


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """32 bytes mixed into two words."""
    w, x, y, z = struct.unpack_from("<4Q", s, at)
    a = (a + w) & MASK
    b = _rotate(b + a + z, 21)
    c = a
    a = (a + x + y) & MASK
    b = (b + _rotate(a, 44)) & MASK
    return (a + z) & MASK, (b + c) & MASK


def _long(s: bytes) -> int:
    x, y = 81, (81 * K1 + 113) & MASK
    z = (_shift_mix((y * K2 + 113) & MASK) * K2) & MASK
    v, w = (0, 0), (0, 0)
    x = (x * K2 + _word(s, 0)) & MASK
    end = (len(s) - 1) // 64 * 64
    last = end + ((len(s) - 1) & 63) - 63
    for at in range(0, end, 64):
        x = (_rotate(x + y + v[0] + _word(s, at + 8), 37) * K1) & MASK
        y = (_rotate(y + v[1] + _word(s, at + 48), 42) * K1) & MASK
        x ^= w[1]
        y = (y + v[0] + _word(s, at + 40)) & MASK
        z = (_rotate(z + w[0], 33) * K1) & MASK
        v = _weak(s, at, (v[1] * K1) & MASK, (x + w[0]) & MASK)
        w = _weak(s, at + 32, (z + w[1]) & MASK, (y + _word(s, at + 16)) & MASK)
        z, x = x, z
    mul = (K1 + ((z & 0xFF) << 1)) & MASK
    w = ((w[0] + ((len(s) - 1) & 63)) & MASK, w[1])
    v = ((v[0] + w[0]) & MASK, v[1])
    w = ((w[0] + v[0]) & MASK, w[1])
    x = (_rotate(x + y + v[0] + _word(s, last + 8), 37) * mul) & MASK
    y = (_rotate(y + v[1] + _word(s, last + 48), 42) * mul) & MASK
    x ^= (w[1] * 9) & MASK
    y = (y + v[0] * 9 + _word(s, last + 40)) & MASK
    z = (_rotate(z + w[0], 33) * mul) & MASK
    v = _weak(s, last, (v[1] * mul) & MASK, (x + w[0]) & MASK)
    w = _weak(s, last + 32, (z + w[1]) & MASK, (y + _word(s, last + 16)) & MASK)
    z, x = x, z
    first = (_mix(v[0], w[0], mul) + _shift_mix(y) * K0 + z) & MASK
    return _mix(first, (_mix(v[1], w[1], mul) + x) & MASK, mul)


def sip_hash(s: bytes, key0: int, key1: int) -> int:
    """SipHash-2-4 of a string under a key of two words."""
    k0, k1 = key0 & MASK, key1 & MASK
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = s + bytes(7 - len(s) % 8) + bytes([len(s) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        _sip_rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _sip_rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & MASK
        v[2] = (v[2] + v[3]) & MASK
        v[1], v[3] = _rotate(v[1], 51) ^ v[0], _rotate(v[3], 48) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2] = (v[2] + v[1]) & MASK
        v[0] = (v[0] + v[3]) & MASK
        v[1], v[3] = _rotate(v[1], 47) ^ v[2], _rotate(v[3], 43) ^ v[0]
        v[2] = _rotate(v[2], 32)
