"""How much fine dust in some hours? LSTM on two days of hourly weather and PM2.5 in Beijing (Liang et al. 2015).

Target: smaller errors than persistence, which says that nothing will change, 1 to 24 hours ahead. The years
2010 to 2012 are for training, 2013 chooses the epoch, 2014 is the test.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphcore as keras
from examples.tools import Rows, data_file, main
from graphcore import layers

HISTORY = 48  # hours
AHEAD = np.array([1, 3, 6, 12, 24])  # hours
WINDS = ("NE", "NW", "SE", "cv")
SCALE = 90.0  # µg/m³, about one standard deviation: brings the targets near 1


@dataclass
class Hours:
    """One row an hour: its year, PM2.5 in µg/m³ (NaN where it was not measured), and the inputs of the model."""

    year: Any
    pm25: Any
    inputs: Any


def read(path: Path) -> Hours:
    """The table of the UCI archive, gzipped."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        next(file)
        rows = [line.rstrip("\n").split(",") for line in file]
    pm25 = np.array([np.nan if row[5] == "NA" else float(row[5]) for row in rows])
    clock = np.array([[row[2], row[4]] for row in rows], float) * (2 * np.pi / np.array([12, 24]))
    weather = np.array([[row[6], row[7], row[8], row[10], row[11], row[12]] for row in rows], float)
    weather[:, 3:] = np.log1p(weather[:, 3:])  # wind, hours of snow and of rain are sums since their beginning
    wind = np.array([[row[9] == name for name in WINDS] for row in rows], float)
    known = last_known(pm25)
    dust = np.stack([known, np.log1p(known), np.isnan(pm25)], axis=1)
    inputs = np.concatenate([dust, weather, wind, np.sin(clock), np.cos(clock)], axis=1).astype("float32")
    return Hours(np.array([int(row[1]) for row in rows]), pm25, inputs)


def last_known(values: Any) -> Any:
    """Each missing value replaced by the one before it; 0 before the first."""
    rows = np.where(np.isnan(values), -1, np.arange(len(values)))
    rows = np.maximum.accumulate(rows)
    return np.where(rows < 0, 0.0, values[rows])


def windows(hours: Hours, years: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Inputs (windows, HISTORY, features), the last PM2.5 (windows, 1), and PM2.5 AHEAD of it, of these years.

    Only windows whose last and coming values were all measured.
    """
    last = np.arange(HISTORY - 1, len(hours.pm25) - AHEAD.max())
    coming = hours.pm25[last[:, None] + AHEAD]
    kept = np.isin(hours.year[last], years) & ~np.isnan(hours.pm25[last]) & ~np.isnan(coming).any(axis=1)
    views = np.lib.stride_tricks.sliding_window_view(hours.inputs, HISTORY, axis=0)
    inputs = views[last[kept] - (HISTORY - 1)].transpose(0, 2, 1)
    return np.ascontiguousarray(inputs), hours.pm25[last[kept], None], coming[kept]


def build_model(training_inputs: Any, units: int = 64) -> keras.Model:
    """Inputs normalised as those of the training, LSTM, and the change to each hour ahead, in units of SCALE."""
    normalization = layers.Normalization()
    normalization.adapt(training_inputs)
    inputs = keras.Input(training_inputs.shape[1:])
    x = layers.LSTM(units, dropout=0.1)(normalization(inputs))
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(units, activation="relu")(x)
    outputs = layers.Dense(len(AHEAD))(x)
    return keras.Model(inputs, outputs, name="pm25_forecast")


def train(model: keras.Model, training: Any, validation: Any, epochs: int = 20) -> keras.callbacks.History:
    """Train on the changes; the learning rate is halved where the validation year no longer improves."""
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.Huber(), metrics=["mean_absolute_error"])
    x, last, coming = training
    x_validation, last_validation, coming_validation = validation
    watching = [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1),
        keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
    ]
    return model.fit(
        x, (coming - last) / SCALE,
        validation_data=(x_validation, (coming_validation - last_validation) / SCALE),
        batch_size=128, epochs=epochs, callbacks=watching,
    )  # fmt: skip


def forecast(model: keras.Model, inputs: Any, last: Any) -> Any:
    """PM2.5 AHEAD of each window, in µg/m³."""
    return np.maximum(last + SCALE * model.predict(inputs, batch_size=512, verbose=0), 0)


def errors(forecasts: Any, coming: Any) -> tuple[Any, Any]:
    """Root mean square and mean absolute error for each hour ahead, in µg/m³."""
    wrong = forecasts - coming
    return np.sqrt(np.mean(wrong**2, axis=0)), np.mean(np.abs(wrong), axis=0)


def run() -> Rows:
    """The whole example; returns what it reached."""
    hours = read(data_file("beijing-pm25.csv.gz"))
    training, validation = windows(hours, (2010, 2011, 2012)), windows(hours, (2013,))
    model = build_model(training[0])
    model.summary()
    history = train(model, training, validation)
    inputs, last, coming = windows(hours, (2014,))
    squared, absolute = errors(forecast(model, inputs, last), coming)
    squared_persistent, absolute_persistent = errors(last, coming)
    rows = [("epochs", str(len(history.epoch))), ("2014, µg/m³", "RMSE (persistence), MAE (persistence)")]
    for column, ahead in enumerate(AHEAD):
        root = f"{squared[column]:.1f} ({squared_persistent[column]:.1f})"
        mean = f"{absolute[column]:.1f} ({absolute_persistent[column]:.1f})"
        rows.append((f"{ahead} h ahead", f"{root}, {mean}"))
    better = bool((squared < squared_persistent).all() and (absolute < absolute_persistent).all())
    return [*rows, ("better than persistence everywhere", "reached" if better else "missed")]


if __name__ == "__main__":
    main(__doc__, run)
