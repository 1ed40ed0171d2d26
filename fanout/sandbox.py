"""Jinja2 with nothing in reach but the data, and with an end to what one rendering may cost.

A template is written by the operator, the data by anybody. Data is printed and never read as a template; HTML is
escaped; what is not there is an error, not an empty place. The cost is metered: every turn of a loop, call, filter and
printed character is charged to one budget, so that nested loops and doubling strings end soon on every machine. Pure:
the clock for the deadline is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import BaseLoader, StrictUndefined, nodes, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, markup_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps

BUDGET: Final = 2_000_000
"""What one rendering may cost. A character costs 1."""
TURN: Final = 40
"""What a turn of a loop, a call or a filter costs: about 1 µs."""
DEADLINE: Final = 1.0
"""Seconds that one rendering may take; a thousand times what a good one takes."""
MAX_BITS: Final = 256
"""Longest whole number that a multiplication may make."""
KEPT: Final = (
    "abs capitalize count d default dictsort e escape filesizeformat first float forceescape groupby int items last "
    "length list lower map max min reject rejectattr reverse safe select selectattr sort string striptags sum title "
    "trim truncate unique upper urlencode wordcount"
)
"""Filters of Jinja2 that templates may use: those that are neither random nor make much from little."""
STRING_METHODS: Final = (
    "capitalize casefold count endswith find isalpha isdigit lower lstrip removeprefix removesuffix rstrip split "
    "splitlines startswith strip title upper"
)
METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(STRING_METHODS.split()),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    int: frozenset(),
    float: frozenset(),
}
"""What may be called on values of these types."""


class Spent(SecurityError):
    """The budget or the time of a rendering is used up."""


class Missing(StrictUndefined):
    """A value that is not there. Its name is given, and nothing of the object that lacks it."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


class Sandbox(ImmutableSandboxedEnvironment):
    """Templates are compiled once and kept. One rendering at a time: `begin` before each; it is not for threads.

    `now`: seconds of a clock that only goes forward.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, loader: BaseLoader, now: Callable[[], float]) -> None:
        super().__init__(
            loader=loader,
            undefined=Missing,
            autoescape=lambda name: name is not None and ".html." in name,
            finalize=self.shown,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
            auto_reload=False,
        )
        self._now = now
        self.begin()
        self.globals = {name: self.globals[name] for name in ("range", "namespace", "cycler", "joiner")}
        own = {"web_link": web_link, "local_time": local_time, "round": rounded, "tojson": htmlsafe_json_dumps}
        filters = {name: FILTERS[name] for name in KEPT.split()} | own
        self.filters = {name: self._charged(function) for name, function in filters.items()}
        self.filters |= {"join": self._join, "replace": self._replace}

    # The budget --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new rendering: the budget is full again."""
        self._left = BUDGET
        self._until = self._now() + DEADLINE

    def spend(self, cost: int) -> bool:
        """Charge `cost`. Raises `Spent` when there is no more."""
        self._left -= cost
        if self._left < 0 or self._now() > self._until:
            raise Spent
        return True

    def shown(self, value: Any) -> Any:
        """What stands in the output for a value: nothing for None; charged by its length."""
        if value is None:
            return ""
        text = value if isinstance(value, str) else str(value)
        self.spend(len(text))
        return text

    def joined(self, *parts: Any) -> str:
        """The operator `~`, charged."""
        self.spend(TURN + sum(len(part) for part in parts if isinstance(part, str)))
        return markup_join(parts)

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # also copies the mark by which Jinja2 knows that a filter wants its context
        def charged(*args: Any, **kwargs: Any) -> Any:
            self.spend(TURN + sum(len(arg) for arg in args if isinstance(arg, str | list | tuple | dict)))
            return function(*args, **kwargs)

        return charged

    @pass_eval_context
    def _join(self, context: nodes.EvalContext, values: Iterable[Any], between: str = "", attribute: Any = None) -> Any:
        found = list(values)
        self.spend(TURN + sum(len(between) + len(part) for part in found if isinstance(part, str)))
        return FILTERS["join"](context, found, between, attribute)

    @pass_eval_context
    def _replace(self, context: nodes.EvalContext, text: str, old: str, new: str) -> Any:
        self.spend(TURN + len(text) + text.count(old) * len(new))
        return FILTERS["replace"](context, text, old, new)

    # Compiling ---------------------------------------------------------------------------------------------------

    def compile(self, source: str | nodes.Template, *args: Any, **kwargs: Any) -> Any:
        """As in Jinja2, with the meter built into loops, macros and `~`."""
        if isinstance(source, str):
            self.begin()  # what is constant is computed here
            source = self._metered(self.parse(source, *args[:2]))
        return super().compile(source, *args, **kwargs)

    def _metered(self, tree: nodes.Template) -> nodes.Template:
        for loop in list(tree.find_all(nodes.For)):
            loop.body.insert(0, nodes.ExprStmt(_call("spend", _literal(loop)), lineno=loop.lineno))
            if loop.test is not None:
                loop.test = nodes.And(_call("spend", nodes.Const(0)), loop.test)
        blocks: list[nodes.Macro | nodes.CallBlock] = [*tree.find_all(nodes.Macro), *tree.find_all(nodes.CallBlock)]
        for block in blocks:
            block.body.insert(0, nodes.ExprStmt(_call("spend", _literal(block)), lineno=block.lineno))
        _replace_concat(tree)
        tree.set_environment(self)
        tree.set_lineno(1)
        return tree

    # What is reached ---------------------------------------------------------------------------------------------

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`data.items` is the member `items` of the data where there is one, the method only where there is none."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is no special case here: it pads, and walks into attributes."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of plain values only the methods listed above, of Jinja2's own objects what its sandbox allows."""
        for kind, methods in METHODS.items():
            if isinstance(obj, kind):
                return attr in methods
        return super().is_safe_attribute(obj, attr, value)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Every call of a template, charged."""
        self.spend(TURN)
        return super().call(*args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The operators that can make much from little."""
        whole = isinstance(left, int) and isinstance(right, int)
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError
        if operator == "*" and whole and left.bit_length() + right.bit_length() > MAX_BITS:
            raise SecurityError
        if operator == "*" and not whole:
            self.spend(_product(left, right))
        if operator == "+" and isinstance(left, str | list | tuple):
            self.spend(len(left) + (len(right) if isinstance(right, str | list | tuple) else 0))
        return super().call_binop(context, operator, left, right)


def _product(left: Any, right: Any) -> int:
    """Length of a repeated string or list; 0 for numbers."""
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(times, int):
            return len(many) * max(times, 0)
    return 0


# The tree ----------------------------------------------------------------------------------------------------------


def _call(method: str, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), list(args), [], None, None)


def _literal(node: nodes.Node) -> nodes.Const:
    """How much text stands in a block as it is."""
    return nodes.Const(sum(len(data.data) for data in node.find_all(nodes.TemplateData)))


def _replace_concat(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, name, [_without_concat(item) for item in value])
        else:
            setattr(node, name, _without_concat(value))


def _without_concat(value: Any) -> Any:
    if isinstance(value, nodes.Node):
        _replace_concat(value)
    return _call("joined", *value.nodes) if isinstance(value, nodes.Concat) else value


# Filters of ours ---------------------------------------------------------------------------------------------------


def web_link(value: Any) -> str:
    """The value when it is a link that a mail may carry, else nothing: no data brings `javascript:` into an href."""
    text = value.strip() if isinstance(value, str) else ""
    fit = text.lower().startswith(("https://", "http://", "mailto:")) and not any(c.isspace() for c in text)
    return text if fit else ""


@pass_context
def local_time(context: Context, value: Any, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time (Unix seconds, or RFC 3339) as the person's clock shows it: in the zone that the data calls `timezone`.

    Raises `ValueError` for what is no time.
    """
    moment = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(float(value), UTC)
    return moment.astimezone(ZoneInfo(context.get("timezone") or "UTC")).strftime(form)


def rounded(value: float, places: int = 0) -> float:
    """A number with so many places after the point, 0 to 15."""
    return round(float(value), min(max(places, 0), 15))
