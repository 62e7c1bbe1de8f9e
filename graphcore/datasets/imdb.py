"""IMDB: film reviews as word ranks, positive or negative (Maas et al. 2011, ACL P11-1015).

Published for Keras as `imdb.npz`, whose ragged arrays are pickles. They are read as data by
`graphcore.datasets.arrays.read_ragged`, which looks up no class and calls no function of the file's choosing.
"""

from __future__ import annotations

import json
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np

from graphcore.datasets.arrays import Array, expect, read_npz, read_ragged
from graphcore.datasets.files import DatasetCorruptError, RemoteFile, fetch, find_given, find_local

Reviews = list[list[int]]

BASE_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# The digests are those in Keras's own loader. For the word index Keras has an MD5 only, which does not
# protect against a file made to match; so its content is checked as well.
REMOTE = RemoteFile(
    name="imdb.npz",
    url=BASE_URL + "imdb.npz",
    digest="69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    size_limit=20_000_000,
)
REMOTE_INDEX = RemoteFile(
    name="imdb_word_index.json",
    url=BASE_URL + "imdb_word_index.json",
    digest="bfafd718b763782e994055a2d397834f",
    size_limit=2_000_000,
    algorithm="md5",
)
SUBSET_NAME = "imdb_ids20k_15k.npz"
# In the subset, id 1 starts a review, 2 is any rarer word, and 3 is the most frequent word (rank 1 in Keras).
SUBSET_START, SUBSET_RARE, SUBSET_FIRST_WORD = 1, 2, 3

logger = logging.getLogger(__name__)


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Reviews as `(x_train, y_train), (x_test, y_test)`, by the rules of Keras.

    Where the full file is neither in `$GRAPHCORE_DATA` nor in the cache, but `$GRAPHCORE_DATA` holds the
    subset `imdb_ids20k_15k.npz` (10000 and 5000 reviews, the 19997 most frequent words), the subset is
    returned and a log message says so; words rarer than its vocabulary become `oov_char` whatever
    `num_words` is.

    Args:
        path: file name looked for in `$GRAPHCORE_DATA` and the cache.
        num_words: ids of this and above become `oov_char`; None takes the largest id in the data, which
            itself becomes `oov_char` (as in Keras).
        skip_top: ids below this become `oov_char`.
        maxlen: reviews of this length or longer are left out, the start mark counted.
        seed: seed of the shuffle.
        start_char: id put before each review; None for none.
        oov_char: id of left-out words; None removes them.
        index_from: added to each word's rank, which starts at 1.

    Returns:
        Object arrays (n,) of lists of int, and int64 labels (n,), 1 for positive.

    Raises:
        ValueError: if `maxlen` leaves no review.
        DatasetUnavailableError: if no file is on this machine and none can be downloaded.
        DatasetCorruptError: if a file is not what it has to be.
    """
    train, test, vocabulary_size = load_ranks(path)
    generator = np.random.RandomState(seed)
    parts = []
    for reviews, labels in (train, test):
        order = np.arange(len(reviews))
        generator.shuffle(order)
        shuffled = mark_reviews([reviews[row] for row in order], start_char, index_from)
        parts.append(remove_long(shuffled, labels[order], maxlen))
    everything = [review for reviews, _ in parts for review in reviews]
    limit = num_words or max(max(review, default=0) for review in everything)
    if vocabulary_size is not None:
        limit = min(limit, vocabulary_size + 1 + index_from)
    return encode(parts[0], skip_top, limit, oov_char), encode(parts[1], skip_top, limit, oov_char)


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """Rank of each word, the most frequent being 1; `load_data` adds `index_from` to it.

    Falls back on the vocabulary of the subset as `load_data` does.

    Raises:
        DatasetUnavailableError: if no file is on this machine and none can be downloaded.
        DatasetCorruptError: if the file is not what it has to be.
    """
    remote = RemoteFile(
        path, REMOTE_INDEX.url, REMOTE_INDEX.digest, REMOTE_INDEX.size_limit, REMOTE_INDEX.algorithm
    )
    found = find_local(remote)
    subset = find_given(SUBSET_NAME)
    if found is None and subset is not None:
        logger.warning("%s is not on this machine; using the words of %s", path, subset)
        return {word: rank for rank, word in enumerate(subset_words(subset), start=1)}
    found = found or fetch(remote)
    try:
        index = json.loads(found.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetCorruptError(f"{found}: not a JSON file: {error}") from error
    if not isinstance(index, dict) or not all(type(rank) is int and rank > 0 for rank in index.values()):
        raise DatasetCorruptError(f"{found}: expected one object of words with positive ranks")
    return index


def load_ranks(path: str) -> tuple[tuple[Reviews, Array], tuple[Reviews, Array], int | None]:
    """Both parts as ranks and labels, and the number of words where rarer ones were cut off before."""
    remote = RemoteFile(path, REMOTE.url, REMOTE.digest, REMOTE.size_limit)
    found = find_local(remote)
    subset = find_given(SUBSET_NAME)
    if found is None and subset is not None:
        logger.warning("%s is not on this machine; using the subset %s", path, subset)
        return load_subset(subset)
    found = found or fetch(remote)
    labels = read_npz(found, ("y_train", "y_test"))
    parts = []
    for part in ("train", "test"):
        reviews = read_ragged(found, f"x_{part}")
        expect(found, f"y_{part}", labels[f"y_{part}"], (len(reviews),), labels[f"y_{part}"].dtype.name)
        parts.append((reviews, labels[f"y_{part}"].astype(np.int64)))
    return parts[0], parts[1], None


def load_subset(path: Path) -> tuple[tuple[Reviews, Array], tuple[Reviews, Array], int]:
    """The subset, turned into ranks; a word cut off gets the rank after the last."""
    names = tuple(f"{kind}_{part}" for part in ("train", "test") for kind in ("x", "off", "y"))
    arrays = read_npz(path, names)
    vocabulary_size = len(subset_words(path))
    parts = []
    for part in ("train", "test"):
        ids, offsets, labels = (arrays[f"{kind}_{part}"] for kind in ("x", "off", "y"))
        expect(path, f"x_{part}", ids, (None,), "uint16")
        expect(path, f"y_{part}", labels, (None,), "uint8")
        expect(path, f"off_{part}", offsets, (len(labels) + 1,), "int32")
        if offsets[0] != 0 or offsets[-1] != len(ids) or np.any(np.diff(offsets) < 0):
            raise DatasetCorruptError(f"{path}: off_{part} does not divide x_{part}")
        ranks = ids.astype(np.int64) - (SUBSET_FIRST_WORD - 1)
        ranks[ids == SUBSET_RARE] = vocabulary_size + 1
        kept = [ranks[begin:end][ids[begin:end] != SUBSET_START].tolist() for begin, end in pairwise(offsets)]
        parts.append((kept, labels.astype(np.int64)))
    return parts[0], parts[1], vocabulary_size


def subset_words(path: Path) -> list[str]:
    """The subset's words, the most frequent first: one a line, in UTF-8 bytes."""
    stored = read_npz(path, ("vocab",))["vocab"]
    expect(path, "vocab", stored, (None,), "uint8")
    return stored.tobytes().decode("utf-8").split("\n")


def mark_reviews(reviews: Reviews, start_char: int | None, index_from: int) -> Reviews:
    """Ids from ranks: `index_from` is added, and the start mark put first."""
    start = [] if start_char is None else [start_char]
    return [start + [rank + index_from for rank in review] for review in reviews]


def remove_long(reviews: Reviews, labels: Array, maxlen: int | None) -> tuple[Reviews, Array]:
    """Only the reviews shorter than `maxlen`, with their labels."""
    if not maxlen:
        return reviews, labels
    kept = [row for row, review in enumerate(reviews) if len(review) < maxlen]
    if not kept:
        raise ValueError(f"no review is shorter than maxlen={maxlen}; choose a larger maxlen")
    return [reviews[row] for row in kept], labels[kept]


def encode(
    part: tuple[Reviews, Array], skip_top: int, limit: int, oov_char: int | None
) -> tuple[Array, Array]:
    """An object array of lists, with ids outside `skip_top`..`limit` replaced or removed, and the labels."""
    reviews, labels = part
    # Always one-dimensional: numpy.array would make a matrix of reviews that happen to be equally long.
    encoded = np.empty(len(reviews), dtype=object)
    for row, review in enumerate(reviews):
        if oov_char is None:
            encoded[row] = [word for word in review if skip_top <= word < limit]
        else:
            encoded[row] = [word if skip_top <= word < limit else oov_char for word in review]
    return encoded, labels
