"""Callbacks of Keras: what happens during training besides the computation."""

from graphcore.callbacks.callback import Callback
from graphcore.callbacks.callback_list import CallbackList
from graphcore.callbacks.csv_logger import CSVLogger
from graphcore.callbacks.early_stopping import EarlyStopping
from graphcore.callbacks.history import History
from graphcore.callbacks.lambda_callback import LambdaCallback
from graphcore.callbacks.learning_rate_scheduler import LearningRateScheduler
from graphcore.callbacks.model_checkpoint import ModelCheckpoint
from graphcore.callbacks.progbar_logger import ProgbarLogger
from graphcore.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from graphcore.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
