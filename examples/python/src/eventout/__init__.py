"""Stats events of containers, computed by a WebAssembly component.

The component holds the accounting and the format. This package gives it the facts of a `Sandbox`, keeps it within
`Limits`, and returns its results:

    events = eventout.Events()
    sandbox = eventout.ProcessTree(os.getpid())  # or one of your own
    event = events.stats(sandbox, sandbox.container)
    print(event.data.memory.usage.usage)  # bytes
    print(events.stats_json(sandbox, sandbox.container, "runc"))
"""

from . import records
from .events import (
    Component,
    ComponentFailed,
    ContainerNotFound,
    Error,
    Events,
    Format,
    Limits,
    NoContainer,
    Sandbox,
    Unavailable,
    Unsupported,
)
from .processes import ProcessTree
from .records import *

__all__ = [
    "Component",
    "ComponentFailed",
    "ContainerNotFound",
    "Error",
    "Events",
    "Format",
    "Limits",
    "NoContainer",
    "ProcessTree",
    "Sandbox",
    "Unavailable",
    "Unsupported",
]
__all__ += records.__all__
