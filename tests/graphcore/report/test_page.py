"""The page as text: whole, escaped, nothing from elsewhere; and the ways to it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import graphcore as keras
from graphcore import cli
from graphcore.report import TITLES, layer_rows
from graphcore.training.lowering import KINDS
from tests.graphcore.report.conftest import EVIL, EVIL_LAYER, GRAPH, small_model

TABS = ("model", "passes", "fusion", "memory", "kernels", "profile")
VOID = {"meta", "br", "input", "link", "img", "hr", "col"}


class Page(HTMLParser):
    """Checks that tags are balanced; collects ids, attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.section = ""
        self.texts: dict[str, str] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.extend((tag, name, value or "") for name, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"
        if tag == "section":
            self.section = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self.section:
            self.texts[self.section] = self.texts.get(self.section, "") + data


@pytest.fixture(scope="module", params=["model_page", "graph_page"])
def text(request: pytest.FixtureRequest) -> str:
    path: Path = request.getfixturevalue(request.param)
    return path.read_text(encoding="utf-8")


def test_tags_are_balanced_and_every_tab_has_text(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert set(page.texts) == set(TABS)
    assert all(len(content.split()) > 20 for content in page.texts.values())
    assert len(set(page.ids)) == len(page.ids)


@pytest.mark.slow
def test_pages_of_whole_models_are_small(large_page: Path) -> None:
    size = large_page.stat().st_size
    print(f"{large_page.stem}: {size / 1e6:.2f} MB", end="")
    assert size <= 3_000_000


def test_links_lead_into_the_page_and_nothing_comes_from_elsewhere(text: str) -> None:
    page = Page(text)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), f"<{tag} {name}={value!r}>"
        if name == "href":
            assert value.startswith("#")
            assert value[1:] in page.ids
        assert name not in ("src", "srcset", "data", "action", "formaction")
        if name in ("for", "aria-controls", "aria-labelledby"):
            assert value in page.ids
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_policy_lets_the_page_s_own_scripts_run_and_nothing_else(text: str) -> None:
    page = Page(text)
    (policy,) = [value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    assert policy.startswith("default-src 'none'")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    own = [script for attributes, script in page.scripts if "type" not in attributes]
    assert len(own) == 2
    assert {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in own} == allowed
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_data_in_scripts_can_be_read(text: str) -> None:
    kinds = {attributes["type"]: script for attributes, script in Page(text).scripts if "type" in attributes}
    data = json.loads(kinds["application/json"])
    assert data["rows"]
    assert data["limit"] == 150
    packed = json.loads(gzip.decompress(base64.b64decode(kinds["application/octet-stream"])))
    assert any("def" in line for line in packed["source"])


def test_hostile_names_are_text(graph_page: Path) -> None:
    text = graph_page.read_text(encoding="utf-8")
    assert EVIL not in text
    assert EVIL_LAYER not in text
    page = Page(text)
    assert EVIL in page.texts["model"]
    assert EVIL in page.texts["fusion"]
    assert EVIL in page.texts["memory"] + page.texts["kernels"]


def test_every_call_says_on_how_many_items_it_worked(text: str) -> None:
    bars = [value for tag, name, value in Page(text).attributes if (tag, name) == ("rect", "data-is")]
    assert bars
    for bar in bars:
        assert re.fullmatch(r"\S+( \S+)?, \S+( \S+)?, [1-9]\d*", bar), bar
    assert "built-in method" not in text


def test_every_kernel_of_a_small_model_has_ir_and_instructions(model_page: Path) -> None:
    page = Page(model_page.read_text(encoding="utf-8"))
    for attributes, script in page.scripts:
        if attributes.get("type") != "application/octet-stream":
            continue
        packed = json.loads(gzip.decompress(base64.b64decode(script)))
        if "llvm" in packed:
            assert any("define" in line for line in packed["llvm"])
            assert len(packed["links"]["llvm"]) == len(packed["llvm"])
            assert len(packed["links"]["assembly"]) == len(packed["assembly"])
            return
    pytest.fail("no kernel has its IR")


def test_rows_of_a_model_hold_inner_models_and_count_each_weight_once() -> None:
    model = small_model()
    rows = layer_rows(model, model.lower("predict").traced.graph)
    assert [row.path for row in rows] == [
        ("features",), ("first",), ("inner", EVIL_LAYER), ("sum",), ("classes",),
    ]  # fmt: skip
    assert [row.inputs for row in rows] == [(), (0,), (1,), (1, 2), (3,)]
    assert sum(row.parameters for row in rows) == model.count_params()
    assert rows[1].kind == "Dense"
    assert rows[1].shape == "(None, 8)"


def test_a_layer_that_is_called_twice_has_two_rows_and_its_weights_once() -> None:
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    rows = layer_rows(model, model.lower("predict").traced.graph)
    assert [row.path[-1] for row in rows][1:] == ["shared", "shared"]
    assert [row.parameters for row in rows][1:] == [20, 0]


def test_the_rows_of_a_subclassed_model_are_those_of_its_graph() -> None:
    class Plain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one = keras.layers.Dense(3, name="one")

        def call(self, inputs: object) -> object:
            return self.one(inputs)

    model = Plain()
    model.predict_on_batch(np.zeros((2, 4), "float32"))
    (row,) = layer_rows(model, model.lower("predict").traced.graph)
    assert (row.path, row.kind, row.parameters) == (("one",), "Dense", 15)


def test_a_report_leaves_the_model_as_it_is() -> None:
    model = small_model()
    before = [np.array(variable) for variable in model.variables]
    page = model.report(kind="predict", batch_size=3)
    assert "batch = 3" in page
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_made_up_batches_have_the_length_that_the_model_declares() -> None:
    inputs = keras.Input((7,), dtype="int32")
    x = keras.layers.Embedding(5, 2)(inputs)
    model = keras.Model(inputs, keras.layers.SimpleRNN(3)(x))
    page = model.report(kind="predict", batch_size=2)
    assert "batch = 2" in page
    assert "(None, 7, 2)" in page
    assert "= 32" not in page.partition("</header>")[0]


def test_an_uncompiled_model_has_no_training_step() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="compile"):
        model.report()


@pytest.mark.parametrize("x", [None, np.ones((2, 4), np.float32)])
def test_a_step_of_no_kind_is_refused(x: np.ndarray | None) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="`kind` must be one of 'train', 'test', 'predict'"):
        model.report(kind="nonsense", x=x)
    assert tuple(TITLES) == KINDS


def test_the_command_writes_the_page_of_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "graph.gcir", tmp_path / "page.html"
    source.write_text(GRAPH, encoding="utf-8")
    assert cli.main(["report", str(source), "-o", str(target), "--size", "batch=7", "--no-measure"]) == 0
    text = target.read_text(encoding="utf-8")
    assert "batch = 7" in text
    assert "Nothing was measured" in text
    assert Page(text).open == []
    assert "page.html" in capsys.readouterr().out
    assert cli.main(["report", str(source), "-o", str(target), "--size", "rows=3"]) == 2
    assert "no symbol 'rows'" in capsys.readouterr().err


def test_the_command_reports_a_saved_model(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs), name="saved").save(tmp_path / "model.keras")
    target = tmp_path / "page.html"
    assert cli.main(["report", str(tmp_path / "model.keras"), "-o", str(target), "--batch", "4"]) == 0
    assert "prediction" in target.read_text(encoding="utf-8")
