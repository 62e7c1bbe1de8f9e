"""Records behave as the frozen dataclasses that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from runtime.records import record


@record
class Point:
    x: int
    y: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


@record
class Named(Point):
    name: str = "here"


@record
class Single:
    value: float


@record(eq=False)
class Own:
    value: int


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    x: int
    y: tuple[int, ...] = (1,)


def test_construction_and_text() -> None:
    assert repr(Point(3)) == repr(Model(3)).replace("Model", "Point")
    assert repr(Named(3, name="there")) == "Named(x=3, y=(1,), name='there')"
    for arguments in ((), (1, 2, 3)):
        with pytest.raises(TypeError, match="argument"):
            Point(*arguments)
    with pytest.raises(ValueError, match="negative"):
        Point(-1)
    with pytest.raises(ValueError, match="negative"):
        Named(-1)


def test_equality_and_hash() -> None:
    assert Point(1, (2,)) == Point(1, (2,))
    assert hash(Point(1, (2,))) == hash(Point(1, (2,)))
    assert Point(1, (2,)) != Point(1, (3,))
    assert Point(1) != Named(1)
    assert Point(1) != (1, (1,))
    assert Single(2.0) == Single(2.0)
    assert len({Single(2.0), Single(2.0), Single(3.0)}) == 2
    assert Own(1) != Own(1)
    assert len({Own(1), Own(1)}) == 2


def test_nothing_can_be_changed() -> None:
    point = Named(1)
    for name in ("x", "name", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(point, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")


def test_the_tools_of_dataclasses_work() -> None:
    point = Named(1, (2,), "there")
    assert dataclasses.replace(point, x=5) == Named(5, (2,), "there")
    assert [field.name for field in dataclasses.fields(point)] == ["x", "y", "name"]
    match point:
        case Named(x, y, name):
            assert (x, y, name) == (1, (2,), "there")
    assert pickle.loads(pickle.dumps(point)) == copy.copy(point) == copy.deepcopy(point) == point


@record
class Nothing:
    pass


@record
class NothingElse:
    pass


def test_records_without_fields_are_equal() -> None:
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert Nothing() != NothingElse()
    assert len({Nothing(), Nothing(), NothingElse()}) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"default_factory": int},
        {"init": False, "default": 0},
        {"compare": False},
        {"repr": False},
        {"hash": False},
        {"kw_only": True},
    ],
    ids=str,
)
def test_fields_that_are_not_plain_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="use a dataclass for Listed"):

        @record
        class Listed:
            items: int = dataclasses.field(**options)  # type: ignore[call-overload]


def test_an_equality_of_its_own_is_not_overwritten() -> None:
    with pytest.raises(TypeError, match="Case says itself what is equal"):

        @record
        class Case:
            text: str

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Case) and self.text.lower() == other.text.lower()

    @record(eq=False)
    class Folded:
        text: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Folded) and self.text.lower() == other.text.lower()

        def __hash__(self) -> int:
            return hash(self.text.lower())

    assert Folded("A") == Folded("a")
