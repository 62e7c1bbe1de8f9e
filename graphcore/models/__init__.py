"""Models: `keras.models`."""

from graphcore.models.cloning import clone_model as clone_model
from graphcore.models.cloning import model_from_json as model_from_json
from graphcore.models.functional import Functional as Functional
from graphcore.models.model import Model as Model
from graphcore.models.sequential import Sequential as Sequential
from graphcore.saving.archive import load_model as load_model
from graphcore.saving.archive import save_model as save_model
from graphcore.saving.objects import MODEL_CLASSES

MODEL_CLASSES.update({"Functional": Functional, "Model": Model, "Sequential": Sequential})
