"""Data sets: what load_data returns, where it looks, and what it refuses. No test here uses the network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest

from graphcore.datasets import cifar10, digits, fashion_mnist, files, imdb, mnist
from graphcore.datasets.arrays import read_npz, read_ragged
from graphcore.datasets.files import DatasetCorruptError, DatasetUnavailableError, RemoteFile


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $GRAPHCORE_DATA, an empty cache, and no network."""
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("GRAPHCORE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(url: str, timeout: float) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(files.urllib.request, "urlopen", refuse)
    return folder


def write_mnist(path: Path, generator: np.random.Generator, rows: int = 5) -> dict[str, np.ndarray]:
    arrays = {}
    for part, count in (("train", rows), ("test", 2)):
        arrays[f"x_{part}"] = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        arrays[f"y_{part}"] = generator.integers(0, 10, count).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return arrays


# Where files are looked for.


@pytest.mark.parametrize("folder", ["", "datasets"])
def test_mnist_is_read_from_the_data_folder(given: Path, folder: str) -> None:
    arrays = write_mnist(given / folder / "mnist.npz", np.random.default_rng(1))
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    for name, found in (("x_train", x_train), ("y_train", y_train), ("x_test", x_test), ("y_test", y_test)):
        np.testing.assert_array_equal(found, arrays[name])
        assert found.dtype == np.uint8


def test_missing_file_names_the_variable_and_the_file(given: Path) -> None:
    with pytest.raises(DatasetUnavailableError) as caught:
        mnist.load_data()
    for part in ("mnist.npz", "GRAPHCORE_DATA", str(given), str(files.cache_folder()), "no network in tests"):
        assert part in str(caught.value)


def test_missing_variable_is_said(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHCORE_DATA")
    with pytest.raises(DatasetUnavailableError, match="it is not set"):
        imdb.load_data()


class Response(io.BytesIO):
    """What urlopen returns, from memory."""


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    asked: list[str] = []

    def answer(url: str, timeout: float) -> Response:
        asked.append(url)
        return Response(content)

    monkeypatch.setattr(files.urllib.request, "urlopen", answer)
    return asked


def remote_of(content: bytes, **changes: object) -> RemoteFile:
    fields = {
        "name": "folder/thing.bin",
        "url": "https://example.org/thing.bin",
        "digest": hashlib.sha256(content).hexdigest(),
        "size_limit": 100,
    }
    return RemoteFile(**(fields | changes))  # type: ignore[arg-type]


def test_download_is_checked_kept_and_not_repeated(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, b"content")
    remote = remote_of(b"content")
    path = files.fetch(remote)
    assert path.read_bytes() == b"content"
    assert path == files.cache_folder() / "folder" / "thing.bin"
    assert files.fetch(remote) == path
    assert asked == [remote.url]


@pytest.mark.parametrize(
    ("sent", "message"),
    [(b"contents", "sha256 is"), (b"c" * 101, "more than 100 bytes")],
    ids=["hash", "size"],
)
def test_wrong_download_leaves_nothing(given: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, message: str) -> None:
    serve(monkeypatch, sent)
    with pytest.raises(DatasetCorruptError, match=message):
        files.fetch(remote_of(b"content"))
    assert list((files.cache_folder() / "folder").iterdir()) == []


def test_damaged_cache_is_refused(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"content")
    remote = remote_of(b"content")
    files.fetch(remote).write_bytes(b"changed")
    with pytest.raises(DatasetCorruptError, match="Delete the file"):
        files.fetch(remote)


def test_plain_http_is_refused(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, b"content")
    with pytest.raises(ValueError, match="expected an https address"):
        files.fetch(remote_of(b"content", url="http://example.org/thing.bin"))
    assert asked == []


def test_older_digest_is_checked_too(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"content")
    digest = hashlib.md5(b"content").hexdigest()
    assert files.fetch(remote_of(b"content", digest=digest, algorithm="md5")).read_bytes() == b"content"


# Plain arrays.


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([[1], [2, 3]], dtype=object))
    with pytest.raises(DatasetCorruptError, match="plain arrays"):
        read_npz(path, ("x",))


def test_mnist_of_wrong_shape_or_length_is_refused(given: Path) -> None:
    arrays = write_mnist(given / "mnist.npz", np.random.default_rng(2))
    np.savez(given / "mnist.npz", **(arrays | {"x_test": arrays["x_test"][:, :27]}))
    with pytest.raises(DatasetCorruptError, match=r"x_test must be uint8 of shape \(any, 28, 28\)"):
        mnist.load_data()
    np.savez(given / "mnist.npz", **(arrays | {"y_train": arrays["y_train"][:-1]}))
    with pytest.raises(DatasetCorruptError, match="x_train 5, y_train 4"):
        mnist.load_data()
    (given / "mnist.npz").write_bytes(b"no archive")
    with pytest.raises(DatasetCorruptError, match="not a readable"):
        mnist.load_data()


def test_carried_digits() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (4000, 28, 28)
    assert x_test.shape == (1000, 28, 28)
    assert {array.dtype.name for array in (x_train, y_train, x_test, y_test)} == {"uint8"}
    assert np.bincount(y_train).tolist() == [400] * 10
    assert np.bincount(y_test).tolist() == [100] * 10
    seen = {image.tobytes() for image in x_train}
    assert not any(image.tobytes() in seen for image in x_test)
    # Shuffled: any hundred in a row hold every class.
    assert all(len(np.unique(y_train[begin : begin + 100])) == 10 for begin in range(0, 4000, 100))


def test_carried_digits_tell_classes_apart() -> None:
    """A nearest-mean rule on wrongly paired labels would be right one time in ten."""
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    means = np.stack([x_train[y_train == label].mean(axis=0).ravel() for label in range(10)])
    distances = ((x_test.reshape(1000, 1, 784) / 1.0 - means) ** 2).sum(axis=2)
    assert np.mean(distances.argmin(axis=1) == y_test) > 0.75


# Fashion-MNIST.


def write_idx(path: Path, magic: int, values: np.ndarray, claimed: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = (claimed if claimed is not None else len(values), *values.shape[1:])
    header = struct.pack(f">{1 + len(sizes)}I", magic, *sizes)
    path.write_bytes(gzip.compress(header + values.tobytes()))


def write_fashion(given: Path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    written = {}
    for part, count in (("train", 4), ("t10k", 3)):
        images = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = generator.integers(0, 10, count).astype(np.uint8)
        write_idx(given / f"fashion-mnist/{part}-images-idx3-ubyte.gz", 0x803, images)
        write_idx(given / f"fashion-mnist/{part}-labels-idx1-ubyte.gz", 0x801, labels)
        written |= {f"x_{part}": images, f"y_{part}": labels}
    return written


def test_fashion_mnist(given: Path) -> None:
    written = write_fashion(given)
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    np.testing.assert_array_equal(x_train, written["x_train"])
    np.testing.assert_array_equal(y_train, written["y_train"])
    np.testing.assert_array_equal(x_test, written["x_t10k"])
    np.testing.assert_array_equal(y_test, written["y_t10k"])
    x_train[0, 0, 0] = 1
    assert len(fashion_mnist.CLASS_NAMES) == 10


def test_damaged_fashion_mnist_is_refused(given: Path) -> None:
    images = write_fashion(given)["x_train"]
    path = given / "fashion-mnist/train-images-idx3-ubyte.gz"
    write_idx(path, 0x803, images, claimed=5)
    with pytest.raises(DatasetCorruptError, match="5 items need"):
        fashion_mnist.load_data()
    write_idx(path, 0x801, images)
    with pytest.raises(DatasetCorruptError, match="expected IDX 0x00000803"):
        fashion_mnist.load_data()
    write_idx(path, 0x803, images[:-1])
    with pytest.raises(DatasetCorruptError, match="4 labels for 3 images"):
        fashion_mnist.load_data()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetCorruptError, match="gzip"):
        fashion_mnist.load_data()


# CIFAR-10.


def write_cifar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            information.type = kind
            archive.addfile(information, io.BytesIO(content))


def cifar_members(generator: np.random.Generator) -> dict[str, bytes]:
    names = (*cifar10.TRAIN_MEMBERS, cifar10.TEST_MEMBER)
    return {name: generator.integers(0, 10, 2 * 3073).astype(np.uint8).tobytes() for name in names}


def test_cifar10_is_read_from_the_archive(given: Path) -> None:
    members = cifar_members(np.random.default_rng(4))
    write_cifar(given / "cifar-10-binary.tar.gz", {"../../escape.txt": b"x", **members})
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, y_train.shape) == ((10, 32, 32, 3), (10, 1))
    assert (x_test.shape, y_test.shape) == ((2, 32, 32, 3), (2, 1))
    second = members["cifar-10-batches-bin/data_batch_2.bin"]
    assert y_train[3, 0] == second[3073]
    # Red plane first, then green, then blue, each row by row.
    for row, column, channel in ((0, 0, 0), (5, 7, 1), (31, 30, 2)):
        assert x_train[3, row, column, channel] == second[3073 + 1 + channel * 1024 + row * 32 + column]
    assert sorted(path.name for path in given.parent.rglob("*") if path.is_file()) == ["cifar-10-binary.tar.gz"]


def test_damaged_cifar10_is_refused(given: Path) -> None:
    members = cifar_members(np.random.default_rng(5))
    path = given / "cifar-10-binary.tar.gz"
    write_cifar(path, members | {cifar10.TEST_MEMBER: b"\x00" * 3072})
    with pytest.raises(DatasetCorruptError, match="multiple of 3073"):
        cifar10.load_data()
    write_cifar(path, {name: members[name] for name in cifar10.TRAIN_MEMBERS})
    with pytest.raises(DatasetCorruptError, match=r"no member .*test_batch\.bin"):
        cifar10.load_data()
    write_cifar(path, members, kind=tarfile.SYMTYPE)
    with pytest.raises(DatasetCorruptError, match="not an ordinary file"):
        cifar10.load_data()
    path.write_bytes(b"no archive")
    with pytest.raises(DatasetCorruptError, match=r"tar\.gz"):
        cifar10.load_data()


def test_cifar10_subset(given: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(6)
    images = generator.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    planes = images.transpose(0, 3, 1, 2)
    differences = np.diff(planes, axis=3, prepend=np.zeros((4, 3, 32, 1), np.uint8))
    labels = np.array([3, 1, 2, 9], np.uint8)
    np.savez(given / cifar10.SUBSET_NAME, dx_train=differences, y_train=labels,
             dx_test=differences[:1], y_test=labels[:1])  # fmt: skip
    (x_train, y_train), (x_test, _) = cifar10.load_data()
    np.testing.assert_array_equal(x_train, images)
    np.testing.assert_array_equal(y_train, labels[:, None])
    assert x_test.shape == (1, 32, 32, 3)
    assert "using the subset" in caplog.text


# IMDB. Reviews hold ranks: 1 is the most frequent word.
TRAIN = [[1, 5, 2], [7, 1], [3, 3, 3, 4], [6]]
TEST = [[2, 9], [1, 1, 1]]


def object_array(rows: list[list[int]]) -> np.ndarray:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def write_imdb(path: Path) -> None:
    np.savez(path, x_train=object_array(TRAIN), y_train=np.array([0, 1, 1, 0]), x_test=object_array(TEST),
             y_test=np.array([1, 0]))  # fmt: skip


def shuffled(rows: list[list[int]], seed: int = 113) -> tuple[list[list[int]], list[int]]:
    """Train rows in the order Keras leaves them in, and their first positions."""
    order = np.arange(len(rows))
    np.random.RandomState(seed).shuffle(order)
    return [rows[row] for row in order], order.tolist()


def test_imdb_defaults(given: Path) -> None:
    write_imdb(given / "imdb.npz")
    (x_train, y_train), (x_test, y_test) = imdb.load_data()
    rows, order = shuffled(TRAIN)
    # The largest id of all, 9 + 3, is itself out of vocabulary when num_words is None: a rule of Keras.
    assert x_train.tolist() == [[1, *(rank + 3 for rank in row)] for row in rows]
    assert y_train.tolist() == [[0, 1, 1, 0][row] for row in order]
    assert sorted(x_test.tolist()) == [[1, 4, 4, 4], [1, 5, 2]]
    assert (x_train.dtype, y_train.dtype, y_test.dtype) == (object, np.int64, np.int64)


def test_imdb_num_words_and_skip_top(given: Path) -> None:
    write_imdb(given / "imdb.npz")
    (x_train, _), _ = imdb.load_data(num_words=8, skip_top=5)
    # The start mark 1 is below skip_top, so it is replaced as well: a rule of Keras.
    rows, _ = shuffled(TRAIN)
    expected = [[2] + [rank + 3 if 5 <= rank + 3 < 8 else 2 for rank in row] for row in rows]
    assert x_train.tolist() == expected
    (x_train, _), _ = imdb.load_data(num_words=8, skip_top=5, oov_char=None)
    assert x_train.tolist() == [[rank + 3 for rank in row if 5 <= rank + 3 < 8] for row in rows]


def test_imdb_without_marks(given: Path) -> None:
    write_imdb(given / "imdb.npz")
    (x_train, _), _ = imdb.load_data(start_char=None, index_from=0, num_words=100)
    assert x_train.tolist() == shuffled(TRAIN)[0]


def test_imdb_maxlen_and_seed(given: Path) -> None:
    write_imdb(given / "imdb.npz")
    (x_train, y_train), (x_test, _) = imdb.load_data(maxlen=4, num_words=100)
    rows, order = shuffled(TRAIN)
    kept = [position for position, row in enumerate(rows) if len(row) + 1 < 4]
    assert x_train.tolist() == [[1, *(rank + 3 for rank in rows[position])] for position in kept]
    assert y_train.tolist() == [[0, 1, 1, 0][order[position]] for position in kept]
    assert x_test.tolist() == [[1, 5, 12]]
    with pytest.raises(ValueError, match="larger maxlen"):
        imdb.load_data(maxlen=1)
    (x_train, _), _ = imdb.load_data(seed=5, start_char=None, index_from=0, num_words=100)
    assert x_train.tolist() == shuffled(TRAIN, 5)[0]


def test_imdb_equally_long_reviews_stay_one_dimensional(given: Path) -> None:
    same = object_array([[1, 2], [3, 4]])
    np.savez(given / "imdb.npz", x_train=same, y_train=np.array([0, 1]), x_test=same, y_test=np.array([0, 1]))
    (x_train, _), _ = imdb.load_data(num_words=100)
    assert x_train.shape == (2,)
    assert isinstance(x_train[0], list)


def write_subset(path: Path) -> None:
    np.savez(
        path,
        x_train=np.array([1, 3, 5, 2, 1, 4], np.uint16), off_train=np.array([0, 4, 6], np.int32),
        y_train=np.array([1, 0], np.uint8), x_test=np.array([1, 2], np.uint16),
        off_test=np.array([0, 2], np.int32), y_test=np.array([1], np.uint8),
        vocab=np.frombuffer(b"the\nand\ncaf\xc3\xa9", np.uint8),
    )  # fmt: skip


@pytest.mark.parametrize("num_words", [None, 1000])
def test_imdb_subset(given: Path, num_words: int | None, caplog: pytest.LogCaptureFixture) -> None:
    write_subset(given / imdb.SUBSET_NAME)
    (x_train, y_train), (x_test, y_test) = imdb.load_data(num_words=num_words)
    by_label = dict(zip(y_train.tolist(), x_train.tolist(), strict=True))
    # Ranks 1 and 3, then a word that the subset cut off; and rank 2.
    assert by_label == {1: [1, 4, 6, 2], 0: [1, 5]}
    assert (x_test.tolist(), y_test.tolist()) == ([[1, 2]], [1])
    assert imdb.get_word_index() == {"the": 1, "and": 2, "café": 3}
    assert "using the subset" in caplog.text


def test_imdb_word_index(given: Path) -> None:
    path = given / "imdb_word_index.json"
    path.write_text(json.dumps({"the": 1, "and": 2}), encoding="utf-8")
    assert imdb.get_word_index() == {"the": 1, "and": 2}
    for wrong in ("[1]", '{"the": "1"}', '{"the": 0}', "{"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DatasetCorruptError, match="imdb_word_index"):
            imdb.get_word_index()


# Ragged arrays are read as data.


def write_pickled(path: Path, payload: bytes, shape: str = "(2,)") -> None:
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".encode("latin1")
    header += b" " * ((-len(header) - 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_ragged_arrays_of_every_writer(tmp_path: Path, protocol: int, module: bytes) -> None:
    payload = pickle.dumps(object_array([[1, 2], [3]]), protocol=protocol)
    modern = b"numpy._core.multiarray"
    if module != modern and protocol >= 4:
        # These protocols store the length of the name, and of the frame around it.
        payload = payload.replace(b"\x8c\x16" + modern, b"\x8c\x15" + module)
        frame = struct.unpack_from("<Q", payload, 3)[0]
        payload = payload[:3] + struct.pack("<Q", frame - 1) + payload[11:]
    payload = payload.replace(modern, module)
    write_pickled(tmp_path / "x.npz", payload)
    assert read_ragged(tmp_path / "x.npz", "x") == [[1, 2], [3]]


class Call:
    """Pickles to a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def test_a_pickle_cannot_call_functions(tmp_path: Path) -> None:
    target = tmp_path / "written"
    for hostile in (
        Call(Path.touch, target),
        Call(exec, f"open({str(target)!r}, 'w')"),
        Call(getattr, 1, "real"),
    ):
        write_pickled(tmp_path / "x.npz", pickle.dumps(object_array([[1], hostile])))  # type: ignore[list-item]
        with pytest.raises(DatasetCorruptError, match="is not allowed"):
            read_ragged(tmp_path / "x.npz", "x")
    assert not target.exists()


def test_a_pickle_cannot_change_the_stand_ins(tmp_path: Path) -> None:
    # BUILD on the name itself: PROTO 2, GLOBAL numpy dtype, {'product': 1} as slot state, BUILD, STOP.
    payload = b"\x80\x02cnumpy\ndtype\nN}X\x07\x00\x00\x00productK\x01s\x86b."
    write_pickled(tmp_path / "x.npz", payload)
    with pytest.raises(DatasetCorruptError, match="may not change"):
        read_ragged(tmp_path / "x.npz", "x")


@pytest.mark.parametrize(
    ("payload", "shape"),
    [
        (pickle.dumps(object_array([[1], [2.5]])), "(2,)"),
        (pickle.dumps(object_array([[1], [True]])), "(2,)"),
        (pickle.dumps(object_array([[1], [[2]]])), "(2,)"),
        (pickle.dumps(object_array([[1]])), "(2,)"),
        (pickle.dumps([[1], [2]]), "(2,)"),
        (pickle.dumps(object_array([[1], [2]]))[:-5], "(2,)"),
        (pickle.dumps(object_array([[1], [2]])), "(2, 1)"),
        (b"", "(2,)"),
    ],
    ids=["float", "bool", "nested", "fewer", "no array", "cut", "rank 2", "empty"],
)
def test_other_ragged_content_is_refused(tmp_path: Path, payload: bytes, shape: str) -> None:
    write_pickled(tmp_path / "x.npz", payload, shape)
    with pytest.raises(DatasetCorruptError):
        read_ragged(tmp_path / "x.npz", "x")


# Real files, where there are any.


def test_real_mnist(data_folder: Path) -> None:
    if files.find_given("mnist.npz") is None:
        pytest.skip(f"{data_folder} holds no mnist.npz")
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert (x_train.shape, y_train.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    labels = {image.tobytes(): label for image, label in zip(x_train, y_train, strict=True)}
    (carried, carried_labels), _ = digits.load_data()
    assert all(labels.get(image.tobytes()) == label for image, label in zip(carried, carried_labels, strict=True))


def test_real_cifar10(data_folder: Path) -> None:
    if files.find_given(cifar10.SUBSET_NAME) is None and files.find_given(cifar10.REMOTE.name) is None:
        pytest.skip(f"{data_folder} holds no CIFAR-10")
    (x_train, y_train), (_, y_test) = cifar10.load_data()
    assert x_train.shape[1:] == (32, 32, 3)
    assert len(np.unique(np.bincount(y_train.ravel()))) == 1
    assert len(np.unique(np.bincount(y_test.ravel()))) == 1
    # Neighbouring pixels of photographs resemble each other far more than pixels of noise do.
    assert np.abs(np.diff(x_train[:200].astype(np.int16), axis=1)).mean() < 30


def test_real_imdb(data_folder: Path) -> None:
    if files.find_given(imdb.SUBSET_NAME) is None and files.find_given(imdb.REMOTE.name) is None:
        pytest.skip(f"{data_folder} holds no IMDB")
    (x_train, y_train), _ = imdb.load_data(num_words=5000, maxlen=200)
    assert set(y_train.tolist()) == {0, 1}
    assert max(map(len, x_train)) < 200
    assert max(map(max, x_train)) < 5000
    wonderful = imdb.get_word_index()["wonderful"] + 3
    with_word = [label for review, label in zip(x_train, y_train, strict=True) if wonderful in review]
    assert np.mean(with_word) > 0.7
