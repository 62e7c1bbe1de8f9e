"""Names of layers and operations; see `graphcore.naming`."""

from graphcore.naming import auto_name as auto_name
from graphcore.naming import get_uid as get_uid
from graphcore.naming import to_snake_case as to_snake_case
from graphcore.naming import uniquify as uniquify
