"""What names a built-in object: a string, a configuration, a class, an instance.

`keras.losses.get`, `keras.optimizers.get`, ... follow one rule; `Registry` is that rule. Names resolve only
in the closed table of a registry and in the custom objects that this process registered: never by import.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast

from graphcore.naming import to_snake_case

Resolved = TypeVar("Resolved")

# Objects registered by the user (`keras.saving.register_keras_serializable`), by registered name.
custom_objects: dict[str, Any] = {}

# Built-in functions by (public module, name): what configurations may refer to.
_BUILT_IN_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}


def close_matches(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the known names most like `name`, or an empty string."""
    # One spelling of each: "glorot_uniform" and "GlorotUniform" are one suggestion.
    by_lower = {candidate.lower().replace("_", ""): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower().replace("_", ""), by_lower, n=3, cutoff=0.6)
    if not found:
        return ""
    return " Did you mean " + " or ".join(repr(by_lower[match]) for match in found) + "?"


def registered_name(thing: type | Callable[..., Any]) -> str | None:
    """The name under which the user registered a class or function, or None."""
    for name, candidate in custom_objects.items():
        if candidate is thing:
            return name
    return None


def serialize_function(function: Callable[..., Any]) -> dict[str, Any]:
    """A configuration of a built-in or registered function, for `find_function`."""
    for (module, name), candidate in _BUILT_IN_FUNCTIONS.items():
        if candidate is function:
            return {"module": module, "class_name": "function", "config": name, "registered_name": None}
    name = getattr(function, "__name__", type(function).__name__)
    registered = registered_name(function) or name
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": registered}


def find_function(config: Any) -> Callable[..., Any]:
    """The function that `serialize_function` described (a function is returned as it is).

    Raises:
        ValueError: neither built in nor registered in this process.
    """
    if callable(config):
        return cast(Callable[..., Any], config)
    name, registered = str(config["config"]), config.get("registered_name")
    found = custom_objects.get(registered or name) or _BUILT_IN_FUNCTIONS.get((str(config["module"]), name))
    if found is None:
        raise ValueError(
            f"Unknown function {name!r}. Register it with `keras.saving.register_keras_serializable` before "
            f"the configuration that names it is read."
        )
    return cast(Callable[..., Any], found)


class Registry(Generic[Resolved]):
    """The built-ins of one kind, and the rules that turn an identifier into one of them.

    Args:
        kind: what an entry is, for messages: `"loss"`.
        module: public Keras module written into configurations: `"keras.losses"`.
        classes: built-in classes; found under their class name and its snake case.
        functions: built-in functions; found under their name.
        aliases: further names.
        base: instances of this class are accepted as they are (any callable where it is None).
    """

    def __init__(
        self,
        kind: str,
        module: str,
        *,
        classes: Iterable[type] = (),
        functions: Iterable[Callable[..., Any]] = (),
        aliases: Mapping[str, Any] | None = None,
        base: type | None = None,
        snake_case: bool = True,
        any_case: bool = False,
    ) -> None:
        self.kind = kind
        self.module = module
        self.base = base
        self.any_case = any_case
        self.classes = tuple(classes)
        self.functions = tuple(functions)
        self.table: dict[str, Any] = {}
        for class_ in self.classes:
            self.table[class_.__name__] = class_
            if snake_case:
                self.table[to_snake_case(class_.__name__)] = class_
        # After the classes: "hinge" is the function of that name, "Hinge" the class.
        self.table.update({function.__name__: function for function in self.functions})
        self.table.update(aliases or {})
        for function in self.functions:
            _BUILT_IN_FUNCTIONS[module, function.__name__] = function
        entries: tuple[Any, ...] = (*self.classes, *self.functions)
        self.names = {id(entry): str(entry.__name__) for entry in entries}

    def __contains__(self, thing: object) -> bool:
        return id(thing) in self.names

    def lookup(self, name: str, objects: Mapping[str, Any] | None = None) -> Any:
        """The class or function called `name`.

        Raises:
            ValueError: nothing is called so; the message lists close matches.
        """
        for table in (objects or {}, custom_objects):
            if name in table:
                return table[name]
        if name in self.table:
            return self.table[name]
        if self.any_case:
            for known, entry in self.table.items():
                if known.lower() == name.lower():
                    return entry
        for registered, entry in custom_objects.items():
            if registered.rsplit(">", 1)[-1] == name:
                return entry
        raise ValueError(
            f"Unknown {self.kind} {name!r}.{close_matches(name, self.table)} Pass a name, an object or a "
            f"function; objects of your own are found by name once they are registered with "
            f"`keras.saving.register_keras_serializable`."
        )

    def get(self, identifier: Any) -> Resolved | None:
        """Resolve an identifier: None, a name, a configuration, a class, an instance or a callable.

        Raises:
            ValueError: the identifier is none of these, or an unknown name.
        """
        if identifier is None:
            return None
        found = identifier
        if isinstance(identifier, Mapping):
            found = self.deserialize(identifier)
        elif isinstance(identifier, str):
            found = self.lookup(identifier)
        if inspect.isclass(found):
            found = found()
        accepted = callable(found) if self.base is None else isinstance(found, self.base)
        if not accepted:
            raise ValueError(
                f"Could not interpret {self.kind} identifier: {identifier!r}. Expected a name such as "
                f"{next(iter(self.table))!r}, a configuration dictionary, a class or an instance. "
                f"Received an object of type {type(identifier).__name__}."
            )
        return cast(Resolved, found)

    def serialize(self, thing: Any) -> Any:
        """A configuration that `deserialize` turns back into an equal object; JSON can hold it."""
        if thing is None or isinstance(thing, (str, bool, int, float)):
            return thing
        if inspect.isfunction(thing) or inspect.isbuiltin(thing):
            return self.names[id(thing)] if thing in self else serialize_function(thing)
        if not hasattr(thing, "get_config"):
            raise TypeError(
                f"The {self.kind} {thing!r} cannot be written as a configuration: it has no `get_config` "
                f"method. Make it a class with `get_config`, or a registered function."
            )
        class_ = type(thing)
        return {
            "module": self.module if class_ in self else class_.__module__,
            "class_name": class_.__name__,
            "config": thing.get_config(),
            "registered_name": None if class_ in self else registered_name(class_) or class_.__name__,
        }

    def deserialize(self, config: Any, objects: Mapping[str, Any] | None = None) -> Any:
        """Rebuild an object from what `serialize` returned (a name resolves too).

        Raises:
            ValueError: an unknown name or a configuration without `class_name`.
        """
        if config is None:
            return None
        if isinstance(config, str):
            return self.lookup(config, objects)
        if not isinstance(config, Mapping) or "class_name" not in config:
            raise ValueError(
                f"Expected the configuration of a {self.kind}: a dictionary with 'class_name' and 'config'. "
                f"Received: {config!r}."
            )
        if config["class_name"] == "function":
            return self._lookup_registered(config, str(config["config"]), objects)
        class_ = self._lookup_registered(config, str(config["class_name"]), objects)
        inner = dict(config.get("config") or {})
        from_config = getattr(class_, "from_config", None)
        return class_(**inner) if from_config is None else from_config(inner)

    def _lookup_registered(
        self, config: Mapping[str, Any], name: str, objects: Mapping[str, Any] | None
    ) -> Any:
        registered = config.get("registered_name")
        for table in (objects or {}, custom_objects):
            if registered and registered in table:
                return table[registered]
        return self.lookup(name, objects)
