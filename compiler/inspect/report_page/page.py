"""The report as one HTML file: templates, style and scripts from this package, data from the modules of the tabs.

Nothing in the page asks for the network: its content policy forbids that, and names the page's own script by its hash,
so that nothing that came from a model could run even if it got past the escaping. With scripts off all tabs stand below
one another, as text and tables.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from compiler.inspect.report_page import charts
from compiler.inspect.report_page.fusion import fusion_tab
from compiler.inspect.report_page.kernels import add_instructions, kernels_tab
from compiler.inspect.report_page.layers import model_tab
from compiler.inspect.report_page.memory import memory_tab
from compiler.inspect.report_page.passes import passes_tab
from compiler.inspect.report_page.timeline import profile_tab
from compiler.text import to_text

if TYPE_CHECKING:
    import jinja2

    from compiler.inspect.report_page.subject import Subject

__all__ = ["TABS", "page_of"]

TABS = ("Model", "Passes", "Fusion", "Memory", "Kernels", "Profile")
PAGE_BYTES = 3_000_000  # kernels' IR and instructions take what the rest leaves of it
SCRIPTS = ("tabs.js", "listing.js", "layout.js", "drawing.js", "kernels.js")


def page_of(subject: Subject) -> str:
    """The whole page."""
    script = "".join(_part(name) for name in SCRIPTS)
    start = _part("start.js")
    template = _environment().get_template("page.html")
    kernels = kernels_tab(subject)
    parts = {
        "title": subject.title,
        "kind": subject.kind,
        "tabs": TABS,
        "style": _part("page.css"),
        "start": start,
        "script": script,
        "policy": _policy(start, script),
        "facts": _facts(subject),
        "model": model_tab(subject),
        "passes": passes_tab(subject),
        "fusion": fusion_tab(subject),
        "memory": memory_tab(subject),
        "kernels": kernels,
        "profile": profile_tab(subject),
        "listings": _listings(subject),
    }
    add_instructions(subject, kernels, PAGE_BYTES - len(template.render(parts).encode()))
    return template.render(parts)


def _facts(subject: Subject) -> list[tuple[str, str]]:
    compiled = subject.compiled
    sizes = ", ".join(f"{name} = {size}" for name, size in subject.sizes.items())
    facts = [
        ("program", subject.kind),
        ("sizes", sizes),
        ("traced nodes", f"{len(subject.traced.nodes):,}"),
        ("kernels", f"{len(compiled.program.kernels):,} in {len(compiled.program.instructions):,} instructions"),
        ("processor", f"{compiled.target.cpu}, {compiled.target.vector_bytes * 8}-bit vectors"),
    ]
    return [(name, value) for name, value in facts if value]


def _listings(subject: Subject) -> list[dict[str, Any]]:
    """Graphs in full, the one that runs first."""
    optimized = to_text(subject.compiled.graph, sources=False, pretty=True)
    traced = to_text(subject.traced, pretty=True)
    return [
        {"id": "optimized", "title": "Optimized: what runs", "text": optimized},
        {"id": "traced", "title": "Traced: what the model asked for", "text": traced},
    ]


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        count=charts.count_text,
        bytes=charts.bytes_text,
        seconds=charts.seconds_text,
        percent=charts.percent_text,
        rate=lambda number: charts.count_text(number) + "/s" if number else "",
    )
    return environment


def _part(name: str) -> str:
    return resources.files("compiler.inspect.report_page").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"
