"""`graphcore demo`: train a convolutional network on handwritten digits, then look at what was compiled.

The first half is ordinary Keras code. The second half prints what a user of Keras never sees: the optimized
graph of the whole training step, its kernels with their times, and its memory plan.
"""

from __future__ import annotations

import dataclasses

from rich.console import Console
from rich.table import Table

import graphcore as keras
from compiler.driver import Compiled
from compiler.text import to_text
from graphcore import layers
from graphcore.datasets import digits
from graphcore.training.data.arrays import Batch
from runtime.profile import Profile

TARGET_ACCURACY = 0.965  # on the 1000 test digits
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 3e-3
PROFILED_STEPS = 50


def build_model() -> keras.Model:
    """Three blocks of convolution, batch normalisation and pooling, then a softmax over the ten digits."""
    inputs = keras.Input((28, 28, 1), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.4)(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="digits")


def train(model: keras.Model, epochs: int) -> float:
    """Train on the 4000 training digits; returns the accuracy on the 1000 test digits."""
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    steps = epochs * -(-len(x_train) // BATCH_SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit=True,
    )
    model.fit(x_train, y_train, batch_size=BATCH_SIZE, epochs=epochs, validation_data=(x_test, y_test))
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return float(accuracy)


def show_graph(console: Console, compiled: Compiled) -> None:
    """Print the training step after all passes: one line a kernel, its fused operations indented."""
    console.rule("The training step, optimized")
    console.print(to_text(compiled.graph, sources=False), markup=False, highlight=False, soft_wrap=True)


@dataclasses.dataclass
class KernelTime:
    """All instructions of a program that share a label."""

    label: str
    calls: int = 0
    milliseconds: float = 0.0


def kernel_times(profile: Profile) -> list[KernelTime]:
    """Times by label, the longest first; those of all threads of a run by their number."""
    times: dict[str, KernelTime] = {}
    totals = profile.times_per_thread().sum(0)
    for instruction, nanoseconds in zip(profile.instructions, totals.tolist(), strict=True):
        time = times.setdefault(instruction.label, KernelTime(instruction.label))
        time.calls += instruction.runs
        time.milliseconds += nanoseconds / 1e6
    return sorted(times.values(), key=lambda time: -time.milliseconds)


def show_kernels(console: Console, profile: Profile) -> None:
    """Print a table of kernels with the share of the step that each takes."""
    console.rule(f"Kernels, {profile.runs} training steps of {BATCH_SIZE} images")
    table = Table("Layer and operations", "Calls", "Total ms", "Share", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    times = kernel_times(profile)
    total = profile.total_nanoseconds / 1e6
    for time in times:
        table.add_row(time.label, str(time.calls), f"{time.milliseconds:.2f}", f"{time.milliseconds / total:.1%}")
    table.add_section()
    table.add_row("One step", "", f"{total / profile.runs:.2f}", "")
    console.print(table)


def show_memory(console: Console, compiled: Compiled) -> None:
    """Print the size of the memory plan beside the least that any plan could do with."""
    memory = compiled.memory.at(dict.fromkeys(compiled.program.symbols, BATCH_SIZE))
    console.rule(f"Memory of a training step of {BATCH_SIZE} images")
    console.print(f"planned peak   {memory.size / 1024:10.1f} KiB")
    console.print(f"lower bound    {memory.bound / 1024:10.1f} KiB (alive at once)")
    console.print(f"ratio          {memory.ratio:10.3f}")


def run(epochs: int = 7, seed: int = 0) -> int:
    """The whole demo.

    Args:
        epochs: passes over the training digits.
        seed: of weights, dropout and the order of the digits.

    Returns:
        Exit code: 0, or 1 if the accuracy on the test digits is below `TARGET_ACCURACY`.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    keras.utils.set_random_seed(seed)
    model = build_model()
    model.summary()
    accuracy = train(model, epochs)

    step = model.lower("train").step
    show_graph(console, step.compiled)
    (x_train, y_train), _ = digits.load_data()
    show_kernels(console, step.measure(Batch(x_train[:BATCH_SIZE], y_train[:BATCH_SIZE]), PROFILED_STEPS))
    show_memory(console, step.compiled)

    reached = accuracy >= TARGET_ACCURACY
    verdict = "reached" if reached else "missed"
    console.rule("Result")
    console.print(f"test accuracy {accuracy:.1%}, target {TARGET_ACCURACY:.1%} {verdict}")
    return 0 if reached else 1
