"""The parameters of a run from the variables of its notebook, whoever runs it: command, papermill, Jupyter or Livy."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from fruits.errors import UsageError
from fruits.params import KEYS, RunParams, build_params, find_repository, list_modes, name_missing

_INJECTED = "# Parameters"  # the first line of the cell that papermill injects


def params_from_notebook(namespace: Mapping[str, Any]) -> RunParams:
    """Build the parameters from the variables of a notebook whose `parameters` cell has run.

    Parameters
    ----------
    namespace
        The notebook's `globals()`. Parameters are the names assigned in the cells that assign a parameter and in
        the cell that papermill injects; IPython keeps the cells' sources in `In`. Livy keeps none: there the names
        of parameters are looked up, and a misspelt one is not seen (papermill warns of it).

    Raises
    ------
    UsageError
        As `load_params`; also when papermill injected its values *before* the parameters cell,
        which then silently overrode them: the cell has lost its `parameters` tag.
    """
    if "In" not in namespace:
        return _build_from(namespace, names=KEYS.keys() & namespace.keys())
    cells = [source for source in namespace["In"] if source]
    assigned = [_assigned_names(source) for source in cells]
    injected = [number for number, source in enumerate(cells) if source.startswith(_INJECTED)]
    whole = [number for number, names in enumerate(assigned) if len(names & KEYS.keys()) > len(KEYS) // 2]
    by_hand = [number for number in whole if number not in injected]
    if by_hand and injected and injected[0] < by_hand[0]:
        raise UsageError(
            "the parameters cell has lost its `parameters` tag, so the values that papermill passes are not used; "
            "tag it again (Jupyter: property inspector)."
        )
    # What ran last counts: a mended misspelling stays in the history, and scratch cells are the user's own.
    return _build_from(namespace, names=set().union(*(assigned[number] for number in by_hand[-1:] + injected[-1:])))


def _build_from(namespace: Mapping[str, Any], *, names: Iterable[str]) -> RunParams:
    values = {name: namespace[name] for name in sorted(names) if name in namespace}
    problems = name_missing(KEYS, values, origin="notebook")
    if find_repository() and isinstance(values.get("mode"), str) and values["mode"] not in list_modes():
        problems.append(f"notebook: mode = {values['mode']!r}: unknown; allowed: {', '.join(list_modes())}")
    return build_params(values, sources=dict.fromkeys(values, "notebook"), problems=problems)


def _assigned_names(source: str) -> set[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell that did not run
        return set()
    targets = (target for node in body if isinstance(node, ast.Assign) for target in node.targets)
    return {target.id for target in targets if isinstance(target, ast.Name)}
