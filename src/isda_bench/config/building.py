"""The one place where a component that a configuration names is found and built.

A configuration that was read from a file is data. The only thing in it that is looked up is the class at
`_target_` of a component. It is checked before it is called: it is defined in isda_bench, or in a module that
the user allows by name, and it is a subclass of the contract that the caller asks for. Its arguments are
plain values.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, TypeGuard

from isda_bench.arguments import check_annotations
from isda_bench.config.problems import problems_of
from isda_bench.errors import UserError

OURS = "isda_bench"
METRICS_OF_OURS = "isda_bench.training.metrics"
"""Our only module whose functions a stored configuration may name."""
ANY_MODULE = ("*",)
"""Allows every module: for the user's own command line and conf/, never for a stored file."""
OPTIMIZERS = ("torch.optim", "timm.optim")
TARGET = "_target_"
RESERVED = (TARGET, "_partial_", "_args_", "_recursive_", "_convert_", "_mode_")
"""Keys with which Hydra would import or call something, or change the called function."""
DEEPEST = 20  # levels of a configuration
LONGEST_SHOWN = 80  # characters of a wrong value in a message
LARGEST = 2**64  # of an integer


def build(node: dict[str, Any], contract: type, allow: tuple[str, ...] = (), **given: Any) -> Any:
    """The component that a section of a configuration describes.

    Args:
        node: `_target_`, the path of a class, and the arguments of its constructor.
        contract: the class below which the component has to be.
        allow: modules beside isda_bench in which the class may be defined; nothing else is imported.
        **given: arguments that the run gives; they replace those of the section.

    Raises:
        ValueError: the class is not allowed, not there or of another contract; a value is not plain; the
            constructor refuses an argument.
        TypeError: the constructor has no such argument.
    """
    arguments = {key: value for key, value in node.items() if key != TARGET}
    for problem in plain_problems(arguments):
        raise ValueError(problem)
    kind = component_class(node.get(TARGET), contract, allow)
    check_annotations(kind, arguments)
    return kind(**{**arguments, **given})


def build_stored(
    source: Path, section: str, node: Any, contract: type, allow: tuple[str, ...] = (), **given: Any
) -> Any:
    """The component that a section of a stored configuration describes.

    Args:
        source: the file in which the section stands.
        section: its dotted key.
        node: the section.
        contract: as in `build`.
        allow: as in `build`.
        **given: as in `build`.

    Raises:
        UserError: it cannot be built; names file and key.
    """
    if not isinstance(node, dict):
        raise UserError(f"{source}: {section}: should be a section")
    built = []
    try:
        problems = problems_of(lambda: built.append(build(node, contract, allow, **given)), f"{section}.")
    except Exception as error:  # what constructors raise for the values of a file has no common class
        problems = [f"{section}: cannot be built: {type(error).__name__}: {error}"]
    if problems:
        raise UserError(f"{source}: {'; '.join(' '.join(line.split()) for line in problems[:3])}")
    return built[0]


def check_allowed(source: Path, section: str, node: Any, allow: tuple[str, ...] = ()) -> None:
    """Checks that a section of a stored configuration names a class of an allowed module; imports nothing.

    Raises:
        UserError: it does not; names file and key.
    """
    target = node.get(TARGET) if isinstance(node, dict) else None
    if not _is_path(target):
        raise UserError(f"{source}: {section}.{_no_path(target)}")
    if not is_within(target.rpartition(".")[0], (OURS, *allow)):
        raise UserError(f"{source}: {section}.{_not_allowed(target)}")


def component_class(target: Any, contract: type, allow: tuple[str, ...] = ()) -> type:
    """The class at the path `target`.

    Args:
        target: '<module>.<name>', where the class is defined.
        contract: the class below which it has to be.
        allow: as in `build`.

    Raises:
        ValueError: there is no such class, or it is not allowed.
    """
    if not _is_path(target):
        raise ValueError(_no_path(target))
    module, _, name = target.rpartition(".")
    roots = _roots(contract, allow)
    if roots != ANY_MODULE and not is_within(module, roots):
        raise ValueError(_not_allowed(target))
    found = _imported(target, module).get(name)
    if not isinstance(found, type):
        reason = f"Error loading {target!r}: no {name} in {module}" if found is None else "is no class"
        raise ValueError(f"{TARGET}={target}: {reason}")
    if not issubclass(found, contract):
        raise ValueError(f"{TARGET}={target}: should make a {contract.__name__}")
    own = f"{found.__module__}.{found.__qualname__}"
    reexported = roots == OPTIMIZERS and is_within(found.__module__, roots)
    if own != target and not reexported:
        raise ValueError(f"{TARGET}={target}: should be {own}, where the class is defined")
    return found


def component_function(target: str, allow: tuple[str, ...] = ()) -> FunctionType:
    """The function at the path `target`, defined there and at the top of its module.

    Args:
        target: '<module>.<name>'.
        allow: as in `build`.

    Raises:
        ValueError: there is no such function, or it is not allowed.
    """
    module, _, name = target.rpartition(".")
    if not all(word.isidentifier() for word in target.split(".")) or not module:
        raise ValueError("should be the path of a function")
    if allow != ANY_MODULE and not is_within(module, (METRICS_OF_OURS, *allow)):
        raise ValueError(_not_allowed(target))
    found = _imported(target, module).get(name)
    if not isinstance(found, FunctionType) or f"{found.__module__}.{found.__qualname__}" != target:
        raise ValueError(f"no function {name} is defined in {module}")
    return found


def _is_path(target: Any) -> TypeGuard[str]:
    return isinstance(target, str) and all(word.isidentifier() for word in target.split("."))


def _no_path(target: Any) -> str:
    return f"{TARGET}={str(target)[:LONGEST_SHOWN]}: should be the path of a class, <module>.<class>"


def _not_allowed(target: str) -> str:
    top = target.partition(".")[0]
    return f"{TARGET}={target}: refused: the module {top} is not allowed (allow={top} allows it)"


def is_within(module: str, roots: tuple[str, ...]) -> bool:
    """Whether the module is one of `roots` or lies below one; private modules do not count."""
    if any(word.startswith("_") for word in module.split(".")):
        return False
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def plain_problems(node: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """Values below a section that are not plain: a line for each, which begins with its dotted key.

    Plain are null, booleans, numbers, text without `${`, and lists and sections of plain values.
    """
    if depth > DEEPEST:
        yield f"{key}: more than {DEEPEST} levels deep"
    elif isinstance(node, dict):
        for name, value in node.items():
            dotted = f"{key}.{name}" if key else str(name)
            if not isinstance(name, str) or name in RESERVED or "${" in name:
                yield f"{dotted}: refused: below a component stand plain values only"
            else:
                yield from plain_problems(value, dotted, depth + 1)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from plain_problems(value, f"{key}.{index}" if key else str(index), depth + 1)
    elif isinstance(node, int) and abs(node) >= LARGEST:
        yield f"{key}: refused: an integer of more than 64 bits"
    elif not _is_plain(node):
        yield f"{key}: refused: {str(node)[:60]!r} is no plain value"


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value
    # Constructors refuse floats that are not finite, with the words of their own checks.
    return value is None or isinstance(value, bool | int | float)


def _roots(contract: type, allow: tuple[str, ...]) -> tuple[str, ...]:
    """The modules in which a class of the contract may be defined."""
    if allow == ANY_MODULE:
        return ANY_MODULE
    if contract.__module__.startswith("torch.optim"):
        return OPTIMIZERS
    return (OURS, *allow)


def _imported(target: str, module: str) -> dict[str, Any]:
    """The names in the module; without those that it would create on access."""
    try:
        return vars(import_module(module))
    except Exception as error:  # a module of the user's may raise anything
        what = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{TARGET}={target}: Error loading {target!r}: {' '.join(what.split())}") from error
