"""The functions of `keras.ops`: on tensors under description they trace, on arrays they compute at once."""

from graphcore.ops import image as image
from graphcore.ops import nn as nn
from graphcore.ops import numpy as numpy
from graphcore.ops.core import array as array
from graphcore.ops.core import cond as cond
from graphcore.ops.core import convert_to_numpy as convert_to_numpy
from graphcore.ops.core import convert_to_tensor as convert_to_tensor
from graphcore.ops.core import copy as copy
from graphcore.ops.core import dtype as dtype
from graphcore.ops.core import is_tensor as is_tensor
from graphcore.ops.core import ndim as ndim
from graphcore.ops.core import saturate_cast as saturate_cast
from graphcore.ops.core import shape as shape
from graphcore.ops.core import size as size
from graphcore.ops.loops import associative_scan as associative_scan
from graphcore.ops.loops import fori_loop as fori_loop
from graphcore.ops.loops import scan as scan
from graphcore.ops.loops import while_loop as while_loop
from graphcore.ops.nn import *  # noqa: F403
from graphcore.ops.numpy import *  # noqa: F403
