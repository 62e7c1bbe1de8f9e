"""Small standard data sets with Keras's `load_data` functions, usable offline.

Files are looked for in `$GRAPHCORE_DATA` and its `datasets` folder, then in the cache
(`$XDG_CACHE_HOME/graphcore/datasets`, by default `~/.cache/graphcore/datasets`), and only then downloaded
over HTTPS and checked by SHA-256. `digits` is carried in the package and needs no network at all.
"""

from graphcore.datasets import cifar10, digits, fashion_mnist, imdb, mnist

__all__ = ["cifar10", "digits", "fashion_mnist", "imdb", "mnist"]
