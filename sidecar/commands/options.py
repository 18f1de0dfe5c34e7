"""The options of each command, as typed objects.

These are not dataclasses, because this module is loaded before the guard forks. Importing dataclasses would take longer
than importing everything else that the guard needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:
    import argparse
    from typing import Self, dataclass_transform
else:

    def dataclass_transform(**_):  # noqa: ANN003, ANN201  the type checker reads typing's
        """Change nothing."""
        return lambda it: it


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
class Options:
    """Base of all options. For the type checker, subclasses are frozen dataclasses with keyword-only fields."""

    def __init__(self, **values: object) -> None:
        """Set the fields. Raises ``TypeError`` if a field without a default is missing, or a name is unknown."""
        cls = type(self)
        fields = cls.__annotations__.keys()
        if not values.keys() <= fields or not all(name in values or hasattr(cls, name) for name in fields):
            raise TypeError(f"{cls.__name__} takes {', '.join(fields)}, not {', '.join(values)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set: options are frozen")

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Self:
        """Make the options from the parser's result."""
        return cls(**{name: getattr(parsed, name) for name in cls.__annotations__})


class StdioOptions(Options):
    """``sidecar stdio``."""

    parent_pid: int | None = None


class DevOptions(Options):
    """``sidecar dev``."""

    parent_pid: int | None
    root: str | None
    port: int | None
    config: str | None
    strict_port: bool
    host: str | None
    ready_timeout: float | None
    """In seconds."""
    open: bool
    json: bool
    program: list[str]
    """The words after ``--``."""


class InitOptions(Options):
    """``sidecar init``."""

    root: str
    plugin: str | None
    dry_run: bool
    yes: bool


class LogsOptions(Options):
    """``sidecar logs``."""

    name: str | None
    lines: int
    follow: bool


class PsOptions(Options):
    """``sidecar ps``."""

    json: bool
    watch: bool


class CleanOptions(Options):
    """``sidecar clean``."""

    dry_run: bool
    yes: bool
    json: bool


class DoctorOptions(Options):
    """``sidecar doctor``."""

    root: str
    port: int | None
    prove: bool
    json: bool


class SchemaOptions(Options):
    """``sidecar schema``."""

    config: bool
    file: bool


class UnpackOptions(Options):
    """``sidecar unpack``."""

    folder: str


class CompletionsOptions(Options):
    """``sidecar completions``."""

    shell: str


class DoctorPartOptions(Options):
    """A helper process of doctor; see ``DOCTOR_PART``."""

    words: list[str]


class OpenerPartOptions(Options):
    """The process that opens pages; see ``OPENER_PART``."""


OfProcesses = (
    StdioOptions
    | DevOptions
    | LogsOptions
    | PsOptions
    | CleanOptions
    | DoctorOptions
    | DoctorPartOptions
    | OpenerPartOptions
)
"""The options of the commands that ``sidecar.commands.dispatch`` runs."""

AnyOptions = OfProcesses | InitOptions | SchemaOptions | UnpackOptions | CompletionsOptions
