"""compile, fit, evaluate and predict: what `Model` inherits to be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphcore import optimizers
from graphcore.callbacks.callback import Logs
from graphcore.callbacks.callback_list import CallbackList
from graphcore.callbacks.history import History
from graphcore.metrics import Mean
from graphcore.training.checks import (
    check_batch,
    check_epochs,
    check_verbose,
    jit_switch,
    positive_integer,
    warn_of_unscaled_loss,
)
from graphcore.training.compile_loss import CompileLoss
from graphcore.training.compile_metrics import CompileMetrics
from graphcore.training.data.adapters import Adapter, is_array_data, make_adapter
from graphcore.training.data.array_adapter import ArrayAdapter
from graphcore.training.data.arrays import Batch, split_validation, to_arrays, unpack_x_y_sample_weight
from graphcore.training.data.epochs import EpochIterator
from graphcore.training.data.iterable_adapter import standardize_batch
from graphcore.training.loops import Validation, evaluate_loop, fit_loop, predict_loop
from graphcore.training.session import Session
from graphcore.training.steps import Steps

if TYPE_CHECKING:
    from graphcore.profiling import Recording
    from graphcore.training.lowering import StepStages


class Trainer(Steps):
    """Training, evaluation and prediction of a model, as in Keras 3.

    A step (forward pass, loss, gradients, optimizer, metrics) is traced once into one graph and compiled; it
    then serves every batch size.

    Attributes:
        loss: the `loss` given to `compile()`.
        compiled: whether `compile()` was called.
        run_eagerly: whether steps are interpreted because `compile()` was told so.
        history: the last `History`.
        stop_training: a callback sets it to end `fit` after the current batch or epoch.
        stop_evaluating: likewise for `evaluate`.
        stop_predicting: likewise for `predict`.
    """

    loss: Any = None
    compiled: bool = False
    run_eagerly: bool = False
    history: History | None = None
    stop_training: bool = False
    stop_evaluating: bool = False
    stop_predicting: bool = False

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        *,
        jit: bool | None = None,
        debug: str | None = None,
    ) -> None:
        """Choose how the model is trained. Trainable weights are those that are trainable now.

        Args:
            optimizer: name or `Optimizer`.
            loss: name, function or `Loss`; a list or dict with one for each output.
            loss_weights: factors of the losses in their sum.
            metrics: list (dict or nested list for several outputs) of names, functions or `Metric` objects;
                they do not see sample weights.
            weighted_metrics: likewise; these see them.
            run_eagerly: the same as `jit=False`.
            steps_per_execution: batches between two calls of the batch hooks of callbacks. With "auto" that is 1
                if a callback needs every batch, else as many as take some 50 milliseconds. Results are the same.
            jit_compile: the same switch as `jit`; "auto" compiles.
            auto_scale_loss: warn if a mixed_float16 model trains without `loss_scale_factor`.
            jit: True (the default) compiles each step to native code, False interprets it with NumPy.
            debug: "nan" stops at the first op that makes NaN or infinity: `compiler.nonfinite.NonFiniteError` names
                op, layer, line and what it read, and no variable has changed in that step. Steps are interpreted,
                ten to forty times slower on the benchmarks' models.

        Raises:
            ValueError: if `jit` and `jit_compile` contradict each other or an argument is not understood.
        """
        if debug not in (None, "nan"):
            raise ValueError(f"`debug` must be None or 'nan'. Received: debug={debug!r}")
        names = getattr(self, "output_names", None)
        session = Session(
            jit=jit_switch(jit, jit_compile, run_eagerly) and debug is None,
            checked=debug == "nan",
            steps_per_execution=None
            if steps_per_execution == "auto"
            else positive_integer(steps_per_execution, "steps_per_execution") or 1,
            compile_loss=None if loss is None else CompileLoss(loss, loss_weights, names),
            compile_metrics=CompileMetrics(metrics, weighted_metrics, names) if metrics or weighted_metrics else None,
            loss_tracker=Mean(name="loss"),
        )
        if all(layer.built for layer in self.flatten_layers()):
            session.trainable = list(self.trainable_variables)
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        if auto_scale_loss and self.dtype_policy.name == "mixed_float16":
            warn_of_unscaled_loss(self.optimizer)
        self.loss = loss
        self.run_eagerly = run_eagerly
        self.stop_training = False
        self._untracked_session = session
        self.compiled = True

    @property
    def jit_compile(self) -> bool:
        """Whether steps are compiled to native code."""
        return self.training_session.jit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
    ) -> History:
        """Train the model.

        Args:
            x: inputs: an array (N, ...), a list or dict of them, a `PyDataset`, or an iterable of batches
                `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
            y: targets, likewise arrays; None if `x` makes them.
            batch_size: samples in a batch, 32 by default; the last batch may be smaller.
            epochs: index of the epoch to stop before, counted from `initial_epoch`.
            verbose: 0 is silent, 1 or "auto" draws a progress bar, 2 prints one line an epoch.
            callbacks: `Callback` objects.
            validation_split: fraction of the samples, taken from the end before shuffling, to validate on.
            validation_data: `(x_val, y_val)`, `(x_val, y_val, weights)` or anything `x` may be.
            shuffle: new order for every epoch; "batch" shuffles whole batches. Arrays and data sets only.
            class_weight: dict from class to weight of its samples in the loss (1 if missing); training only.
            sample_weight: weights (N,) of the samples in the loss, or (N, T) of their elements.
            initial_epoch: epoch to start from.
            steps_per_epoch: batches in an epoch; data then go on from epoch to epoch.
            validation_steps: batches to validate on, from the start each time.
            validation_batch_size: `batch_size` by default.
            validation_freq: validate every so many epochs, or after the epochs listed (counted from 1).

        Returns:
            The `History`: `.history` maps names to lists with one float an epoch.

        Raises:
            ValueError: if arguments do not fit each other or the model; nothing is changed then.
        """
        self._require_compile("fit")
        check_epochs(initial_epoch, epochs, validation_freq)
        positive_integer(steps_per_epoch, "steps_per_epoch")
        positive_integer(validation_steps, "validation_steps")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = self._split(x, y, sample_weight, validation_split)
        adapter = make_adapter(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight)
        data = EpochIterator(adapter, steps_per_epoch)
        self._prepare("train", adapter)
        validation = None
        if validation_data is not None:
            held_out = make_adapter(
                *_validation_arguments(validation_data), validation_batch_size or batch_size, validation_steps
            )
            validation = Validation(EpochIterator(held_out, validation_steps, "validation_steps"), validation_freq)
            self._prepare("test", held_out)
        every = self._callbacks(callbacks, verbose, epochs, data.num_batches, add_history=True)
        fit_loop(self, data, validation, every, initial_epoch, epochs)
        assert self.history is not None
        return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics of the model on data.

        Args:
            x: inputs, as in `fit`.
            y: targets.
            batch_size: samples in a batch, 32 by default.
            verbose: as in `fit`.
            sample_weight: as in `fit`.
            steps: batches to evaluate; by default all.
            callbacks: `Callback` objects.
            return_dict: return a dict from name to value.

        Returns:
            The loss alone if there are no metrics, else a list: the loss, then the metrics.

        Raises:
            ValueError: if arguments do not fit each other or the model.
        """
        self._require_compile("evaluate")
        adapter = make_adapter(x, y, sample_weight, batch_size, positive_integer(steps, "steps"))
        data = EpochIterator(adapter, steps, "steps")
        self._prepare("test", adapter)
        logs = evaluate_loop(self, data, self._callbacks(callbacks, verbose, 1, data.num_batches))
        return logs if return_dict else self._in_metric_order(logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Predictions of the model; works without `compile()`.

        Args:
            x: inputs, as in `fit`; targets that a data set makes are ignored.
            batch_size: samples in a batch, 32 by default.
            verbose: as in `fit`.
            steps: batches to predict; by default all.
            callbacks: `Callback` objects.

        Returns:
            Arrays (N, ...) in the structure of the model's output.

        Raises:
            ValueError: if the data do not fit the model.
        """
        adapter = make_adapter(x, None, None, batch_size, positive_integer(steps, "steps"))
        data = EpochIterator(adapter, steps, "steps")
        self._prepare("predict", adapter)
        return predict_loop(self, data, self._callbacks(callbacks, verbose, 1, data.num_batches))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch; returns its own loss and metrics, as `evaluate` does."""
        self._require_compile("train_on_batch")
        batch = standardize_batch((x, y, sample_weight), class_weight, "train_on_batch")
        return self._on_batch("train", batch, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, as `evaluate` returns them."""
        self._require_compile("test_on_batch")
        batch = standardize_batch((x, y, sample_weight), None, "test_on_batch")
        return self._on_batch("test", batch, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Predictions of one batch."""
        session = self._untracked_session or self.training_session
        repeated = session.repeated_prediction(x)
        if repeated is not None:
            return repeated
        batch = standardize_batch((x,), None, "predict_on_batch")
        check_batch(self, batch)
        outputs = session.run(self, "predict", batch)
        if batch.x is x and session.latest["predict"].returns_one_array:
            session.expect_prediction(self, x)
        return outputs

    def profile(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, runs: int = 20, kind: str | None = None
    ) -> Recording:
        """Where the time of a step goes: every kernel and layer, over some runs on one batch.

        Variables are put back as they were. `graphcore.profile()` does the same for whole calls of `fit` or `predict`.

        Args:
            x, y, sample_weight: one batch, as for `train_on_batch`.
            runs: runs that count; a few come first, to compile and to choose between one thread and all.
            kind: "train", "test" or "predict"; by default "train" where there is a `y`, else "predict".

        Raises:
            ValueError: if steps are interpreted, if `kind` is none of these, or if the batch does not fit.
        """
        from graphcore.profiling import profile_step  # here, since training needs none of it

        kind = kind or ("predict" if y is None else "train")
        if kind != "predict":
            self._require_compile("profile")
        return profile_step(self, kind, standardize_batch((x, y, sample_weight), None, "profile"), runs)

    def lower(self, kind: str = "train") -> StepStages:
        """What became of a step, stage by stage: `traced`, `optimized`, `kernels`, `memory`, `program`.

        It is the program last used for such steps. Where none has run, one is made for the batches that the model
        declares: inputs as its `Input`s say, targets (of type `floatx()`) shaped like the outputs, or, for losses of
        class numbers, int64 labels without the last axis, and no sample weights. Data of other types or shapes will
        run another program; so will `fit` with arrays, whose program takes the rows of a batch from all of the data.

        Args:
            kind: "train", "test" or "predict"; before `compile()` only the last is possible.

        Raises:
            ValueError: if no step has run and the model is not compiled or does not declare its inputs, or if its
                losses expect other targets.
        """
        from graphcore.training.lowering import lower_step  # here, since training needs no tables

        return lower_step(self, kind)

    def _prepare(self, kind: str, adapter: Adapter) -> None:
        """Trace the program and check the data, before anything is changed."""
        first = adapter.peek()
        whole = adapter.data if isinstance(adapter, ArrayAdapter) else first
        if kind == "predict":
            first = first._replace(y=None, sample_weight=None)
        self.training_session.program(self, kind, first, adapter.layout)
        check_batch(self, whole if kind != "predict" else whole._replace(y=None))

    def _on_batch(self, kind: str, batch: Batch, return_dict: bool) -> Any:
        session = self.training_session
        session.program(self, kind, batch)
        check_batch(self, batch)
        self.reset_metrics()
        logs = session.logs(self, session.run(self, kind, batch))
        return logs if return_dict else self._in_metric_order(logs)

    def _callbacks(
        self, callbacks: Any, verbose: int | str, epochs: int, steps: int | None, add_history: bool = False
    ) -> CallbackList:
        check_verbose(verbose)
        if isinstance(callbacks, CallbackList):
            return callbacks
        return CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )

    def _in_metric_order(self, logs: Logs) -> Any:
        """Values in the order of `metrics`, the loss first; the value alone if there is only one."""
        compile_metrics = self.training_session.compile_metrics
        names: list[str] = []
        for metric in self.training_session.metrics_of(self):
            if metric is compile_metrics:
                names += [part.name for part in compile_metrics.metrics]
            else:
                names.append(metric.name)
        known = [name for name in dict.fromkeys(names) if name in logs]
        values = [logs[name] for name in (*known, *sorted(set(logs) - set(known)))]
        return values[0] if len(values) == 1 else values

    def _require_compile(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"You must call `compile()` before calling `{method}()`.")

    def _split(self, x: Any, y: Any, sample_weight: Any, validation_split: float) -> tuple[Batch, Batch]:
        if not is_array_data(x):
            raise ValueError(
                "`validation_split` is only supported for arrays. "
                f"Received: x of type {type(x).__name__}. Pass `validation_data` instead."
            )
        arrays = Batch(to_arrays(x, "x"), to_arrays(y, "y"), to_arrays(sample_weight, "sample_weight"))
        return split_validation(arrays, validation_split)


def _validation_arguments(validation_data: Any) -> tuple[Any, Any, Any]:
    """`x`, `y` and `sample_weight` of the validation data."""
    if isinstance(validation_data, (list, tuple)):
        return unpack_x_y_sample_weight(validation_data)
    return validation_data, None, None
