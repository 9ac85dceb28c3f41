"""The pruning techniques: one module each, or one for two that differ in little, and one row here."""

from stages.library.pruning.common import Settings
from stages.library.pruning.structured import Structured
from stages.library.pruning.unstructured import Magnitude, Movement

# By the name that conf/prune and `python -m stages.prune` know them by.
METHODS: dict[str, type[Settings]] = {"magnitude": Magnitude, "movement": Movement, "structured": Structured}
