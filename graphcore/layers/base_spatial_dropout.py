"""What dropout of whole channels shares."""

from __future__ import annotations

from typing import Any

from graphcore.layers.dropout import Dropout


class BaseSpatialDropout(Dropout):
    """Dropout whose pattern is constant along the spatial axes."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; JSON can hold them."""
        return {key: value for key, value in super().get_config().items() if key != "noise_shape"}
