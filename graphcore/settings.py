"""The few process-wide values that decide what a newly made layer or tensor is like.

`graphcore.config` is their public face. They live apart from it because nearly every module reads them.
"""

from __future__ import annotations

import dataclasses

from compiler.types import FLOAT_DTYPES

IMAGE_DATA_FORMATS = ("channels_last", "channels_first")


@dataclasses.dataclass
class _Settings:
    floatx: str = "float32"
    epsilon: float = 1e-7
    image_data_format: str = "channels_last"
    winograd: bool = True


_SETTINGS = _Settings()


def floatx() -> str:
    """The float type of weights and of float constants that name none; 'float32' at first."""
    return _SETTINGS.floatx


def set_floatx(value: str) -> None:
    """Set the default float type: 'float16', 'float32' or 'float64'.

    Raises:
        ValueError: for any other name.
    """
    if value not in FLOAT_DTYPES:
        raise ValueError(f"Unknown `floatx` value: {value!r}. Expected one of {', '.join(FLOAT_DTYPES)}.")
    _SETTINGS.floatx = value


def epsilon() -> float:
    """The fuzz factor that keeps divisions and logarithms finite; 1e-7 at first."""
    return _SETTINGS.epsilon


def set_epsilon(value: float) -> None:
    """Set the fuzz factor that `epsilon()` returns."""
    _SETTINGS.epsilon = float(value)


def image_data_format() -> str:
    """Where images keep their channels: 'channels_last' (at first) or 'channels_first'."""
    return _SETTINGS.image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the default of every `data_format` argument.

    Raises:
        ValueError: if the text is neither 'channels_last' nor 'channels_first'.
    """
    _SETTINGS.image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """The layout an argument `data_format` means; None is the process-wide default.

    Raises:
        ValueError: if the text is neither 'channels_last' nor 'channels_first'.
    """
    if data_format is None:
        return _SETTINGS.image_data_format
    if str(data_format).lower() not in IMAGE_DATA_FORMATS:
        raise ValueError(f"The `data_format` argument must be one of {IMAGE_DATA_FORMATS}. Received: {data_format!r}")
    return str(data_format).lower()


def winograd() -> bool:
    """Whether programs compiled from now on may use Winograd's convolutions; True at first."""
    return _SETTINGS.winograd


def set_winograd(value: bool) -> None:
    """Allow or forbid Winograd's convolutions for programs compiled from now on.

    They take 3x3 convolutions with stride 1 in float32, on the CPU, where they are expected to be faster. Their error
    is about twice that of direct sums (up to 2.5 times in the mean, for 16 channels); where that matters, forbid them.
    A value that is not finite may reach all results of the 4x4 tiles that read it.
    """
    _SETTINGS.winograd = bool(value)
