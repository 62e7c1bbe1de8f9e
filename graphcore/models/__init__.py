"""Models: `keras.models`."""

from graphcore.models.functional import Functional as Functional
from graphcore.models.model import Model as Model
from graphcore.models.sequential import Sequential as Sequential
