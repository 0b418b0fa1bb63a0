# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check of the project, and the one place that says how each is run.

`make test` sets up `.venv` and runs the default sessions, `make test-all` also those with the tag ``all``. `.venv/bin/nox --list` shows all.
Sessions that are defined in antsibull-nox.toml get environments of their own under `.nox`. Those below use `.venv`. Both have the same pins.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import antsibull_nox
import nox

ROOT = Path(__file__).resolve().parent
#: Each ansible-core that is tested with, and a Python that it runs on. The first is the oldest that is supported, the last the one that pip finds.
CORES = {"2.17.7": "3.10", "2.18": "3.11", "2.19": "3.11", "2.20": "3.12", "newest": "3.13"}
#: The Python of `.venv`, as ansible-test wants it.
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SHELL_SCRIPTS = ("tests/front-door", "tests/holdfast-bench", "tests/holdfast-lab", ".ci/run")
# The sessions without an environment of their own use the programs beside nox, also where nobody has put these on PATH.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _pip_has_settings_of_its_own() -> bool:
    """Whether pip was told where to get packages from, or which certificates to trust. uv reads no settings of pip's, so then pip itself installs."""
    names = ["index-url", "no-index", *([] if "SSL_CERT_FILE" in os.environ else ["cert"])]
    if {f"PIP_{name.upper().replace('-', '_')}" for name in names} & set(os.environ):
        return True
    settings = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    return re.search(rf"^(global|install)\.({'|'.join(names)})=", settings, re.MULTILINE) is not None


nox.needs_version = ">=2026.8"
nox.options.default_venv_backend = "virtualenv" if _pip_has_settings_of_its_own() else "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

antsibull_nox.load_antsibull_nox_toml()


@nox.session(venv_backend="none")
def style(session: nox.Session) -> None:
    """Python and shell: likely errors, import order and format (`ruff check --fix` and `ruff format` mend the last two)."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff", "--quiet")
    if shutil.which("shellcheck"):
        session.run("shellcheck", *SHELL_SCRIPTS, external=True)
    else:
        session.warn("shellcheck is not installed: the shell scripts were not looked at")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types, with mypy's strict mode: the core, the modules, the lab and the benchmarks."""
    packages = ["ansible_collections.holdfast.ha.plugins", "lab", "harness", "bench"]
    session.run("mypy", *(f"--package={name}" for name in packages), env={"MYPYPATH": f"{ROOT}/.tree:{ROOT}/tests"})


@nox.session(venv_backend="none")
def docsite(session: nox.Session) -> None:
    """The documentation as a site: guides, modules, roles and filters; every warning is an error. With an argument, kept in that folder."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as place:
        site = Path(place)
        there = {"ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.tree"}
        words = ("--use-current", "--squash-hierarchy", "--sphinx-theme", "alabaster", "--dest-dir", place, "holdfast.ha")
        session.run("antsibull-docs", "sphinx-init", *words, env=there, silent=True)
        settings = (site / "conf.py").read_text(encoding="utf-8")
        # What lies on other sites is not looked up, so that the site can be built without a network.
        settings = re.sub(r"(?ms)^intersphinx_mapping = \{.*?^\}\n", "", settings.replace("'sphinx.ext.intersphinx', ", ""))
        (site / "conf.py").write_text(f"{settings}suppress_warnings = ['ref.ref']\n", encoding="utf-8")
        session.run("bash", f"{place}/build.sh", env=there, silent=True, external=True)
        guides = {path.stem for path in (ROOT / "docs/docsite/rst").glob("*.rst")}
        if left_out := guides - {path.stem for path in (site / "build/html/docsite").glob("*.html")}:
            session.error(f"these guides are not in docs/docsite/extra-docs.yml: {', '.join(sorted(left_out))}")
        if session.posargs:
            shutil.copytree(site / "build/html", session.posargs[0], dirs_exist_ok=True)


@nox.session(venv_backend="none", default=False)
def lock(session: nox.Session) -> None:
    """Pin anew: rewrites each set of pins from the *.in beside it, with the newest releases for every Python from 3.10 on; on nodes from 3.11 on."""
    node = "roles/monitor/files/requirements"
    for name in (*(f"tests/requirements/{one}" for one in ("test", "lab", "importer", "eda", "molecule", "oldest")), node):
        source, pins = Path(f"{name}.in"), Path(f"{name}.txt")
        oldest = "3.11" if name == node else "3.10"
        command = ["uv", "pip", "compile", "--universal", f"--python-version={oldest}", "--upgrade", "--no-header", "--no-annotate", "--quiet"]
        if source.stem in ("lab", "eda", "molecule") or name == node:
            command.append("--constraint=tests/requirements/test.txt")
        if name == node:  # root installs these
            command.append("--generate-hashes")
        resolved = session.run(*command, str(source), silent=True)
        licence = source.read_text(encoding="utf-8").splitlines()[0]
        pins.write_text(f"{licence}\n# Made from {source.name} by `nox -s lock`.\n{resolved}", encoding="utf-8")


def _environment(session: nox.Session, name: str, python: str = sys.executable) -> Path:
    """`.nox/NAME` with what tests/requirements/NAME.txt pins, made anew only where that has changed; the folder of its programs."""
    place, pins = ROOT / ".nox" / name, ROOT / f"tests/requirements/{name}.txt"
    stamp = place / "pins.txt"
    if not stamp.exists() or stamp.read_bytes() != pins.read_bytes():
        session.run(python, "-m", "venv", "--clear", str(place), external=True)
        session.run(f"{place}/bin/python", "-m", "pip", "install", "--quiet", "--requirement", str(pins))
        shutil.copy(pins, stamp)
    return place / "bin"


@nox.session(venv_backend="none", default=False, tags=["all"])
def eda(session: nox.Session) -> None:
    """Makes `.nox/eda` with ansible-rulebook, where there is Java: only then does the suite run the rulebooks."""
    if shutil.which("java") is None:
        session.skip("there is no Java (Debian's openjdk-17-jre-headless): the tests of the rulebooks will be skipped")
    session.run(f"{_environment(session, 'eda')}/ansible-rulebook", "--version", silent=True)


@nox.session(venv_backend="none")
def oldest(session: nox.Session) -> None:
    """Makes `.nox/oldest` with the oldest supported ansible-core, where there is a Python that runs it: only then does the suite run it."""
    names = ("python3.12", "python3.11", "python3.10")
    found = [shutil.which(name, path=_path_of_working_pythons()) for name in names]
    python = sys.executable if sys.version_info < (3, 13) else next(filter(None, found), None)
    if python is None:
        session.skip("there is no Python from 3.10 to 3.12: the tests with the oldest supported ansible-core will be skipped")
    session.run(f"{_environment(session, 'oldest', python)}/ansible-playbook", "--version", silent=True)


@nox.session(venv_backend="none", default=False)
def molecule(session: nox.Session) -> None:
    """The scenarios of extensions/molecule, on nodes of the lab that boot; arguments are molecule's, instead of `test --all`."""
    programs = _environment(session, "molecule")
    words = session.posargs or ["test", "--all"]
    session.run(f"{programs}/molecule", *words, env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})


@nox.session(venv_backend="none")
def changelog(session: nox.Session) -> None:
    """antsibull-changelog: the fragments are right, and a release can be made of them (of a copy; this tree stays as it is)."""
    session.run("antsibull-changelog", "lint")
    with _collection_copy() as copy, session.chdir(copy):
        for words in (("init", "--quiet"), ("add", "--all")):  # it asks git which files are the collection's
            session.run("git", *words, external=True, log=False)
        there = {"ANSIBLE_COLLECTIONS_PATH": str(copy.parents[2])}
        session.run("antsibull-changelog", "release", "--version", _version(), "--date", "2000-01-01", env=there, silent=True)
        made = (copy / "CHANGELOG.rst").read_text(encoding="utf-8")
        if f"v{_version()}" not in made or list((copy / "changelogs/fragments").glob("*.yml")):
            session.error("antsibull-changelog release did not turn the fragments into CHANGELOG.rst")


def _version() -> str:
    """The one that is being worked on."""
    return re.findall(r"^version: (\S+)$", (ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)[0]


@nox.session(venv_backend="none", default=False)
def release(session: nox.Session) -> None:
    """The files of a release: collection, bill of materials, checksums; in `dist`, or in the empty folder that is given."""
    session.run("python", "-m", "harness.release", *(session.posargs or ["dist"]), env={"PYTHONPATH": f"{ROOT}/tests"})


# --- ansible-test ---------------------------------------------------------------------------------------------------


@contextmanager
def _collection_copy() -> Iterator[Path]:
    """The work tree's files, new ones included, copied to where ansible-test wants them: a real folder outside of any repository."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory(prefix="holdfast-") as place:
        copy = Path(place, "ansible_collections", "holdfast", "ha")
        for name in filter(None, os.fsdecode(listed).split("\0")):
            if os.path.isfile(name):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, copy / name)
        yield copy


#: What ansible-test downloads to put pip into an empty environment, in a version that needs no download: with the pip
#: that comes with Python.
_GET_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--upgrade", *wanted]))
"""


def _stand_in_for_get_pip(core: Path) -> None:
    """Where the host that ansible-test gets it from does not answer, and only there, put a stand-in into ansible-test's cache.

    :param core: The folder of the `ansible_test` package.
    """
    source = (core / "_util/target/setup/requirements.py").read_text(encoding="utf-8")
    versions = (core / "_internal/python_requirements.py").read_text(encoding="utf-8")
    address = re.search(r"url = '(\S+get-pip-%s\.py)'", source)
    wanted = re.search(r"\bpip='([\d.]+)'", versions)
    if address is None or wanted is None:
        return  # another way of doing it: leave it alone
    cached = Path.home() / f".ansible/test/cache/get_pip_{wanted[1].replace('.', '_')}.py"
    if cached.exists():
        return
    try:
        with urllib.request.urlopen(address[1] % wanted[1], timeout=5):
            return
    except OSError:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(_GET_PIP, encoding="utf-8")


def _path_of_working_pythons() -> str:
    """PATH without the folders in which a Python is only announced, and with those where pyenv keeps the ones that it announces.

    ansible-test tries every `python3.N` on PATH, and pyenv's stand-ins fail for all but the chosen versions.
    """

    def works(python: Path) -> bool:
        return subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0

    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    kept = [
        folder for folder in folders if all(works(python) for python in folder.glob("python3.[0-9]*") if re.fullmatch(r"python3\.\d+", python.name))
    ]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return os.pathsep.join(map(str, [*kept, *pyenv.glob("versions/3.*/bin")]))


def _ansible_test(session: nox.Session, *words: str) -> None:
    place = str(session.run("python", "-c", "import ansible_test; print(*ansible_test.__path__)", silent=True, log=False)).strip()
    _stand_in_for_get_pip(Path(place))
    session.run("ansible-test", "--version", log=False)
    with _collection_copy() as copy, session.chdir(copy):
        session.run("ansible-test", *words, "--color", "no", *session.posargs, env={"PATH": _path_of_working_pythons()})


@nox.session(name="ansible-test-sanity", venv_backend="none")
def sanity(session: nox.Session) -> None:
    """ansible-test's sanity tests, with the ansible-core and the Python of `.venv`."""
    _ansible_test(session, "sanity", "--local", "--python", _PYTHON)


@nox.session(name="ansible-test-pythons", venv_backend="none", default=False, tags=["all"])
def pythons(session: nox.Session) -> None:
    """The sanity tests that differ from Python to Python, with every Python of this machine that ansible-test supports."""
    _ansible_test(session, "sanity", "--local", "--test", "compile", "--test", "import")


#: Those of the plugins, but for the long simulations. All others import nothing of the collection that these do not.
_SIMULATIONS = "tests/unit/plugins/module_utils/_lease/test_exclusion.py", "tests/unit/plugins/module_utils/_lease/test_session_exclusion.py"
_UNITS = ("tests/unit/plugins/", *(word for path in _SIMULATIONS for word in ("--exclude", path)))


@nox.session(name="ansible-test-units", venv_backend="none", default=False, tags=["all"])
def units(session: nox.Session) -> None:
    """The unit tests of the plugins once more, in ansible-test's import regime."""
    _ansible_test(session, "units", "--local", "--python", _PYTHON, *_UNITS)


def _requirement(core: str) -> str:
    return "ansible-core" if core == "newest" else f"ansible-core=={core}.*"


@nox.session(name="ansible-test-sanity-with", default=False)
@nox.parametrize("python,core", [(python, core) for core, python in CORES.items()], ids=list(CORES))
def sanity_with(session: nox.Session, core: str) -> None:
    """ansible-test's sanity tests with another ansible-core, where the Python that it wants is installed."""
    session.install("--upgrade", _requirement(core))
    _ansible_test(session, "sanity", "--local")


@nox.session(name="ansible-test-units-with", default=False)
@nox.parametrize("python,core", [(python, core) for core, python in CORES.items()], ids=list(CORES))
def units_with(session: nox.Session, core: str) -> None:
    """The unit tests, in ansible-test's import regime, with another ansible-core, where the Python that it wants is installed."""
    session.install(
        "--upgrade",
        _requirement(core),
        "boto3",
        "mock",
        "netaddr",
        "prometheus-client",
        "pytest",
        "pytest-mock",
        "pytest-xdist",
        "pyyaml",
        "typing_extensions",
    )
    _ansible_test(session, "units", "--local", "--python", str(session.python), *_UNITS)
