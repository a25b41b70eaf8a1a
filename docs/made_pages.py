"""
Pages of the site that are made of something else: types, docstrings, notebooks, files of the repository.

They are written into `docs/_made`, which is no part of the repository. The sources keep the links that
they have in the repository; `links_of_site` turns them to the pages.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import cast

import click
import msgspec

import ares_notebook
from ares_notebook import errors
from ares_notebook.cache_object import BoundVerb
from ares_notebook.cli.commands import app
from ares_notebook.cli.json_types import OUTPUTS, ErrorJson, JsonType
from ares_notebook.cli.output import EXIT_STATUSES

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
MADE = DOCS / "_made"
# Files of the repository that are pages of the site.
COPIED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "results.md",
    "benchmarks/FAULTS.md": "faults_of_others.md",
    "benchmarks/SOAK.md": "soak.md",
    "tests/README.md": "fault_table.md",
}
NOTEBOOKS = sorted(path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
# Where files of the repository are on the site, from `docs`.
PLACES = {
    "README.md": "index.md",
    **{source: f"_made/{page}" for source, page in COPIED.items()},
    **{f"notebooks/{name}": f"_made/notebooks/{name}" for name in NOTEBOOKS},
    **{
        f"notebooks/pictures/{path.name}": f"_made/notebooks/pictures/{path.name}"
        for path in (REPOSITORY / "notebooks" / "pictures").glob("*.png")
    },
    "examples/step1_data_collection.py": "_made/step1_example.md",
}
_ORIGINS = {page: source for source, page in PLACES.items()}
# A link of Markdown, also in the JSON of a notebook; its text, address and place on the page.
_LINK = re.compile(r"\[([^\]\[]*)\]\(([\w./-]*)(#[\w-]*)?\)")
# The names of the reference, by what they are for; a test sees to it that none lacks.
GROUPS: Mapping[str, str] = {
    "Get": "klines rows update download_all_data download_klines_data download_agg_trades_data "
    "download_funding_data download_futures_data download_universe list_symbols repair_gaps "
    "fetch_missing_data download_with_retry",
    "Plan": "plan_downloads plan_universe plan_update plan_repair plan_audit get_monthly_periods "
    "get_daily_periods",
    "Load": "load_klines load_rows load_agg_trades load_funding load_futures arrow_table "
    "iter_agg_trades sql missing",
    "Change": "align resample_klines candles_from_trades",
    "Look": "coverage find_gaps symbols_in_cache download_history load_runs doctor",
    "Prove": "validate_cache assure_quality audit_cache fingerprint verify_fingerprint verify_parquet",
    "Keep": "prune_cache to_parquet",
    "Run": "run start",
    "Plot": "chart coverage_map plot_klines plot_funding plot_coverage plot_gaps plot_universe plot_runs plot_downloads",
    "Objects": "Cache DownloadPanel Settings DemoExchange Universe Job",
    "Results": "DownloadReport QualityReport Fingerprint ParquetReport PruneReport UniversePlan DoctorReport",
    "Constants": "DATASETS INTERVALS CACHE_DIR MAX_RETRIES RETRY_DELAY_SECONDS",
}

# What the public names return, take and hold; each has its entry, on one page.
PARTS = (
    "download.plan.Plan download.decide.Step download.estimate.Cost download.report.StepReport "
    "runtime.progress.Progress cache.history.RunOutcome cache.prune_report.PruneItem parquet.ParquetItem "
    "quality.findings.Finding quality.audit.AuditReport quality.fingerprint.FileFingerprint "
    "quality.fingerprint.Verification diagnosis.DoctorFinding model.symbols.Listed model.time.Period "
    "demo.faults.Fault demo.server.Response demo.server.Delivery model.files.CacheFile model.files.Series "
    "lab.chart.CandleChart lab.coverage_map.CoverageMap lab.map_part.Selected quality.row_difference.RowDifference model.facts.Gap runtime.progress.DatasetProgress quality.audit.FileAudit quality.fingerprint.Difference"
)


def make_pages() -> None:
    """Write all of them; what has not changed keeps its time, so that Sphinx reads it no second time."""
    wanted = {name: text for make in (_copies, _texts) for name, text in make()}
    for name, text in wanted.items():
        path = MADE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    pictures = REPOSITORY / "notebooks" / "pictures"
    shutil.copytree(pictures, MADE / "notebooks" / "pictures", dirs_exist_ok=True)


def links_of_site(page: str, text: str) -> str:
    """The text of a page of the site, with links from where its source is turned to pages."""
    here = PurePosixPath(_ORIGINS.get(page, f"docs/{page}")).parent
    there = PurePosixPath(page).parent

    def turned(found: re.Match[str]) -> str:
        words, address, place = found[1], found[2], found[3] or ""
        if not address:
            return found[0]
        source = normpath((here / address).as_posix())
        target = PLACES.get(source) or source.removeprefix("docs/")
        if not (DOCS / target).exists():
            # A file that is no page: its name says enough.
            return words if words.startswith("`") or " " in words else f"`{words}`"
        return f"[{words}]({relpath(target, there.as_posix())}{place})"

    return _LINK.sub(turned, text)


def _copies() -> Iterator[tuple[str, str]]:
    for source, page in COPIED.items():
        yield page, (REPOSITORY / source).read_text(encoding="utf-8")
    for name in NOTEBOOKS:
        yield f"notebooks/{name}", (REPOSITORY / "notebooks" / name).read_text(encoding="utf-8")
    example = (REPOSITORY / "examples" / "step1_data_collection.py").read_text(encoding="utf-8")
    yield "step1_example.md", f"# A whole step1\n\n```python\n{example}```\n"


def _texts() -> Iterator[tuple[str, str]]:
    yield "api.md", "\n".join(_api())
    yield "parts.md", "\n".join(_parts())
    yield "errors.md", "\n".join(_errors())
    yield "verbs.md", "\n\n".join(_verbs())
    yield "json.md", "\n".join(_json())


def _api() -> Iterator[str]:
    yield "# Python\n\n`import ares_notebook as ares`; these are all its public names.\n"
    for group, names in GROUPS.items():
        yield f"## {group}\n\n```{{eval-rst}}\n.. currentmodule:: ares_notebook\n"
        yield ".. autosummary::\n   :toctree: api\n   :nosignatures:\n"
        yield from (f"   {name}" for name in names.split())
        yield "```\n"
    yield "## For a kernel\n\n```{eval-rst}\n.. autofunction:: ares_notebook.lab.allow_nested_loops\n```"


def _parts() -> Iterator[str]:
    yield "# Parts of results\n\nWhat the public names return and hold, beside the classes that have names there.\n"
    yield "```{eval-rst}"
    yield from (
        f".. autoclass:: ares_notebook.{name}\n   :members:\n   :exclude-members: __init__, __new__\n"
        for name in PARTS.split()
    )
    yield "```"


def _errors() -> Iterator[str]:
    doc = inspect.cleandoc(errors.__doc__ or "")
    first, tree, last = (part.strip("\n") for part in doc.partition("\n\n")[2].rpartition("\n\n"))
    yield f"# Errors\n\nWhat can go wrong, in one tree, `ares_notebook.errors`. {last}\n"
    yield f"```text\n{first or tree}\n```\n\n```{{eval-rst}}"
    for name in dir(errors):
        yield f".. autoexception:: ares_notebook.errors.{name}\n   :show-inheritance:\n"
    yield "```"


def methods_of_cache() -> Iterator[tuple[str, str]]:
    """The methods of `Cache`, each with the function that it is."""
    for name, verb in vars(ares_notebook.Cache).items():
        if isinstance(verb, BoundVerb):
            yield name, verb.find().__name__


def _verbs() -> Iterator[str]:
    yield "# Verbs and options"
    yield "What `ares-notebook VERB --help` shows. [The command line](../command_line.md) says how they go together."
    rows = "\n".join(f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES.items())
    yield f"## Exit status\n\n| status | meaning |\n|---|---|\n{rows}"
    for name, verb in app.commands.items():
        context = click.Context(verb, info_name=f"ares-notebook {name}", terminal_width=100)
        yield f"## {name}\n\n```text\n{verb.get_help(context)}\n```"


def _json() -> Iterator[str]:
    yield "# JSON\n"
    yield "Every verb takes `--json`. Standard output then has one JSON value and nothing else; what is logged, and"
    yield "progress, go to standard error. A moment is ISO 8601 in UTC. An [exit status](verbs.md#exit-status) other than 0 stands"
    yield "beside a result that is not good, or beside an object with the one key `error`, where there is no result.\n"
    yield "| verb | prints | with `--dry-run` |\n|---|---|---|"
    for verb, kinds in OUTPUTS.items():
        shown = [_kind_in_words(each) for each in kinds]
        yield f"| [`{verb}`](verbs.md#{verb}) | {' | '.join([*shown, ''][:2])} |"
    schemas, components = msgspec.json.schema_components(
        [*JsonType.__subclasses__()], ref_template="#{name}"
    )
    del schemas
    for kind in JsonType.__subclasses__():
        yield f"\n({_anchor(kind.__name__)})=\n## {kind.__name__}\n\n{inspect.getdoc(kind)}\n"
        if kind is ErrorJson:
            yield "Exit status and message are those on standard error.\n"
        yield "| field | type | meaning |\n|---|---|---|"
        for name, field in components[kind.__name__]["properties"].items():
            yield f"| `{name}` | {_type_in_words(field)} | {field.get('description', '')} |"


def _anchor(name: str) -> str:
    return f"json-{name.lower()}"


def _link(name: str) -> str:
    return f"[{name}](#{_anchor(name)})"


def _kind_in_words(kind: object) -> str:
    if inspect.isclass(kind):
        return _link(kind.__name__)
    [of] = getattr(kind, "__args__", ())
    return f"list of {_link(of.__name__)}"


def _type_in_words(field: Mapping[str, object]) -> str:
    """A type of JSON Schema in words."""
    if "$ref" in field:
        return _link(str(field["$ref"]).removeprefix("#"))
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in _list(field["enum"]))
    if "anyOf" in field:
        return " or ".join(_type_in_words(each) for each in _list(field["anyOf"]))
    if field["type"] == "array":
        return f"list of {_type_in_words(dict(field['items']))}"  # type: ignore[call-overload]
    form = field.get("format")
    words = {"date-time": "moment", "date": "day"}
    return words.get(str(form), str(field["type"]))


def _list(value: object) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", value)
