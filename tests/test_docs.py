"""Documents fail here when they lag behind what they describe."""

import builtins
import re
import tomllib
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import click
import dagster as dg
import pytest
import yaml

import aether_dagster
import aethersdk
from aether_dagster import errors
from aether_dagster.cli.main import aetherscript
from aether_dagster.script import STEP_ARGUMENTS, parse_document
from tests.pages.reader import as_document

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "definitions").rglob("*.md"))

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"aetherscript((?: [^\s`|)#;&]+)*)")


def page_id(page):
    return str(page.relative_to(ROOT))


def every(kind):
    """Parameters: each block of a language, named after its page and line."""
    return [
        pytest.param(block[2], id=f"{page_id(page)}:{text.count(chr(10), 0, block.start()) + 1}")
        for page in PAGES
        for text in [page.read_text("utf-8")]
        for block in BLOCK.finditer(text)
        if block[1] == kind
    ]


@pytest.mark.parametrize("block", every("yaml"))
def test_a_yaml_block_is_what_the_product_takes(block):
    match block.split()[0]:
        case "type:":
            name = block.split()[1].removeprefix("aether_dagster.")
            assert name in aether_dagster.__all__
        case "execution:":
            job = dg.GraphDefinition(name="any").to_job(executor_def=aether_dagster.aether_executor)
            assert dg.validate_run_config(job, yaml.safe_load(block))
        case "storage:":
            custom = yaml.safe_load(block)["storage"]["custom"]
            named = getattr(import_module(custom["module"]), custom["class"])
            assert custom["config"].keys() <= named.config_type().keys()
        case _:
            parse_document(as_document(block))


@pytest.mark.parametrize("block", every("python"))
def test_a_python_block_compiles_and_imports_what_exists(block):
    compile(block, "<docs>", "exec")
    for module, names in re.findall(
        r"^from (aether\w+(?:\.\w+)*) import (.+)$", block, re.MULTILINE
    ):
        for name in re.split(r",\s*", names.strip("() ")):
            assert hasattr(import_module(module), name)


def anchors(page):
    """The names which GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.exists(), f"{target} does not exist"
        assert there.is_relative_to(ROOT), f"{target} is outside of this repository"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES[1:], ids=page_id)
def test_every_page_is_reached_from_the_index(page):
    if page.is_relative_to(ROOT / "docs"):
        assert page in reachable(ROOT / "docs" / "index.md")


@cache
def reachable(start):
    found, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md" or not page.is_file():
            continue
        found.add(page)
        links = LINK.findall(BLOCK.sub("", page.read_text("utf-8")))
        waiting += [
            (page.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link
        ]
    return found


@cache
def command(words):
    """The command which a command line begins with, and how many of its words name it."""
    found, depth = aetherscript, 0
    context = click.Context(aetherscript, info_name="aetherscript")
    while isinstance(found, click.Group) and depth < len(words):
        deeper = found.get_command(context, words[depth])
        if deeper is None:
            break
        context = click.Context(deeper, parent=context, info_name=words[depth])
        found, depth = deeper, depth + 1
    return found, depth


def command_lines(page):
    """What a page tells to type: in its blocks of shell, and in `code`."""
    text = page.read_text("utf-8")
    shell = [block[2] for block in BLOCK.finditer(text) if block[1] in {"bash", "sh", "console"}]
    inline = re.findall(r"`([^`\n]*aetherscript [^`\n]*)`", BLOCK.sub("", text))
    for line in [*"\n".join(shell).splitlines(), *inline]:
        for words in COMMAND.findall(line.split("  #")[0]):
            yield tuple(words.split())


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_flags_exist(page):
    for words in command_lines(page):
        if not words or words[0] == "…":
            continue
        found, depth = command(words)
        if not words[0].startswith("-"):
            assert depth > 0, f"aetherscript has no command {words[0]}"
        flags = {flag for parameter in found.params for flag in parameter.opts}
        for word in words[depth:]:
            if word.startswith("--"):
                known = flags | {"--help", "--version"}
                assert word.partition("=")[0] in known, f"{' '.join(words)}: no flag {word}"


def every_flag():
    flags = {"--help", "--version"}
    waiting = [aetherscript]
    while waiting:
        found = waiting.pop()
        flags |= {flag for parameter in found.params for flag in parameter.opts}
        if isinstance(found, click.Group):
            context = click.Context(found)
            waiting += [found.get_command(context, name) for name in found.list_commands(context)]
    return flags


def not_there_yet():
    readme = PAGES[0].read_text("utf-8")
    return "".join(re.findall(r"^\*\*Not there yet\*\*.*?\n\n", readme, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_flag_which_a_page_names_exists_or_is_said_not_to_be_there_yet(page):
    text = BLOCK.sub("", page.read_text("utf-8"))
    for flag in re.findall(r"`(--[a-z-]+)[=` ]", text):
        assert flag in every_flag() or f"`{flag}`" in not_there_yet(), flag


def test_what_is_said_not_to_be_there_yet_is_not_there():
    assert not set(re.findall(r"`(--[a-z-]+)`", not_there_yet())) & every_flag()


def reference(name):
    return (ROOT / "docs" / "reference" / name).read_text("utf-8")


def test_every_step_type_is_documented_with_every_argument():
    text = reference("step-types.md")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for step_type, model in STEP_ARGUMENTS.items():
        (told,) = [section for title, section in sections.items() if step_type in title.split()]
        for name, field in model.model_fields.items():
            key = field.validation_alias or name
            assert re.search(rf"`{key}\b", told), f"{step_type}: {key}"


def test_every_setting_is_documented():
    from aether_dagster.orchestration import settings

    text = reference("settings.md")
    told = dict(re.findall(r"^\| `(AETHERSCRIPT_\w+)` \| `(\w+)`", text, re.MULTILINE))
    assert told == {variable: field for field, variable in settings._VARIABLES.items()}


def test_names_of_errors_classes_and_settings_exist():
    package = Path(aether_dagster.__file__).parent
    source = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))
    public = set(aether_dagster.__all__) | set(vars(errors)) | set(dir(builtins))
    for page in PAGES:
        text = page.read_text("utf-8")
        for name in re.findall(r"`(\w+Error|Aether\w+)`", text):
            assert name in public or f'"{name}"' in source, f"{page_id(page)}: {name}"
        for name in re.findall(r"\b(AETHERSCRIPT_[A-Z_]+)\b", text):
            assert name in reference("settings.md"), f"{page_id(page)}: {name}"


def test_every_public_name_is_in_the_reference_of_python():
    named = set(re.findall(r"^::: (\S+)$", reference("python.md"), re.MULTILINE))
    public = {f"aether_dagster.{name}" for name in aether_dagster.__all__}
    public |= {f"aethersdk.{name}" for name in aethersdk.__all__}
    assert public <= named
    for name in named - public:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or find_spec(name), name


def test_the_architecture_is_the_one_which_is_checked():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (rings,) = [each["layers"] for each in contracts if each.get("exhaustive")]
    drawn = re.search(r"```text\n(cli\n.*?)```", text, re.DOTALL)[1].splitlines()
    assert drawn == [ring.translate(str.maketrans("", "", "()")) for ring in rings]
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert told == re.findall(r"\w+", " ".join(rings))


def test_extras_which_pages_name_exist():
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for page in PAGES:
        text = page.read_text("utf-8")
        named = re.findall(r"extras? `(\w+)`", text)
        named += [
            e for found in re.findall(r"aether-dagster\[([\w,]+)\]", text) for e in found.split(",")
        ]
        named += [e for found in re.findall(r"'\.\[([\w,]+)\]'", text) for e in found.split(",")]
        for extra in named:
            assert extra in extras, f"{page_id(page)}: {extra}"
