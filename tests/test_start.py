"""start.py sets up and starts: real environments, real pip and real Streamlit in a folder of their own.

What it installs there is one small wheel that borrows the packages of the Python that runs these tests,
so that nothing is fetched.
"""

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import HANG

START = Path(__file__).resolve().parent.parent / "start.py"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")} | {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PIP_NO_INDEX": "1",
}


def borrowed_packages(folder):
    wheel = folder / "borrowed-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("borrowed.pth", sysconfig.get_path("purelib") + "\n")
        archive.writestr("borrowed-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: borrowed\nVersion: 1\n")
        archive.writestr("borrowed-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("borrowed-1.dist-info/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with start.py and the smallest app, as it is after a clone."""
    folder = tmp_path_factory.mktemp("a project with spaces")
    shutil.copy(START, folder)
    (folder / "requirements.txt").write_text(f"# what it needs\n{borrowed_packages(folder).as_uri()}\n")
    (folder / "requirements-dev.txt").write_text("# nothing more\n")
    (folder / "app.py").write_text("import streamlit as st\n\nst.title('It runs')\n")
    (folder / "test_it.py").write_text("def test_good():\n    pass\n\n\ndef test_bad():\n    assert False\n")
    return folder


def start(project, *args, **environment):
    command = [sys.executable, project / "start.py", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, env=ENVIRONMENT | environment)


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def running(project, *args, **environment):
    """The app as a person starts it in a terminal; yields the process and its address."""
    output = project / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, project / "start.py", *args],
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT | environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + HANG
        while not (found := re.search(r"http://[\d.]+:\d+", output.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.terminate()  # which ends the server too: it has a process group of its own
            process.wait(timeout=HANG)


def health(address):
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with no_proxy.open(f"{address}/_stcore/health", timeout=HANG) as answer:
        return answer.status


def test_the_first_start_makes_an_environment_and_answers(project):
    with running(project, "--server.port", str(unused_port())) as (_, address):
        assert health(address) == 200
    output = (project / "output.txt").read_text()
    assert "installing requirements.txt" in output
    assert address.startswith("http://127.0.0.1:")


def test_the_second_start_installs_nothing(project):
    start(project, "test", "--version")
    with running(project, f"--server.port={unused_port()}") as (_, address):
        assert health(address) == 200
    assert "installing" not in (project / "output.txt").read_text()


def test_the_app_installs_nothing_after_the_tests_have(project):
    (project / "requirements.txt").write_text((project / "requirements.txt").read_text() + "# new\n")
    start(project, "test", "--version")
    with running(project, f"--server.port={unused_port()}"):
        assert "installing" not in (project / "output.txt").read_text()


def test_changed_requirements_are_installed(project):
    start(project, "test", "--version")
    with (project / "requirements-dev.txt").open("a") as file:
        file.write("# one more line\n")
    assert "installing requirements.txt, requirements-dev.txt" in start(project, "test", "--version").stdout
    assert "installing" not in start(project, "test", "--version").stdout


def test_the_exit_code_is_that_of_the_tests(project):
    assert start(project, "test", "-k", "good").returncode == 0
    assert start(project, "test", "-k", "bad").returncode == 1


def test_a_taken_port_is_said_and_the_next_one_used(project):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with running(project, "--server.port", str(taken)) as (_, address):
            assert health(address) == 200
            assert int(address.rpartition(":")[2]) > taken
    assert f"Port {taken} is not free" in (project / "output.txt").read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_frees_the_port_and_shows_no_traceback(project, how):
    with running(project, "--server.port", str(unused_port())) as (process, address):
        if how == signal.SIGINT:  # a terminal sends Ctrl-C to the whole group
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        process.wait(timeout=HANG)
        socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    output = (project / "output.txt").read_text()
    assert "Traceback" not in output
    assert ("ended" in output) == (how == signal.SIGINT)


def test_further_options_reach_streamlit(project):
    options = ["--server.port", str(unused_port()), "--server.baseUrlPath", "models"]
    with running(project, *options) as (_, address):
        assert health(address + "/models") == 200


def test_sentences_are_chinese_where_the_system_is(project):
    with running(project, "--server.port", str(unused_port()), LC_ALL="zh_CN.UTF-8", PYTHONUTF8="1"):
        assert "请打开 http://127.0.0.1:" in (project / "output.txt").read_text(encoding="utf-8")


def test_a_failed_installation_says_so_and_is_tried_again(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".venv"))
    wanted = (folder / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text("no-such-package-for-bigmodel==1\n")
    failed = start(folder)
    assert failed.returncode == 1
    assert "Installing failed" in failed.stderr and "network" in failed.stderr
    (folder / "requirements.txt").write_text(wanted)
    assert start(folder, "test", "-k", "good").returncode == 0


def test_a_half_made_environment_is_made_again(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".venv"))
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "a Python that has gone")
    assert start(folder, "test", "-k", "good").returncode == 0


def test_without_venv_it_says_what_to_install(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".venv"))
    (tmp_path / "venv.py").write_text("raise SystemExit('ensurepip is not available')\n")
    without = start(folder, PYTHONPATH=str(tmp_path))
    assert without.returncode == 1
    assert "apt install python3-venv" in without.stderr and "Traceback" not in without.stderr


def test_an_old_python_can_read_it_and_is_refused(project):
    ast.parse(START.read_text(encoding="utf-8"), feature_version=(3, 7))
    pretend = "import sys, runpy; sys.version_info = (3, 10, 1); sys.argv = ['start.py']; runpy.run_path(%r, run_name='__main__')"
    refused = subprocess.run(
        [sys.executable, "-c", pretend % str(START)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert refused.returncode == 1
    assert "Python 3.11 or newer is needed" in refused.stderr and "Traceback" not in refused.stderr


def test_help_and_wrong_options_are_answered_at_once(project):
    assert "python3 start.py test" in start(project, "--help").stdout
    wrong = start(project, "--server.port", "many")
    assert wrong.returncode == 2 and "many" in wrong.stderr


def test_start_is_short_and_needs_the_standard_library_only():
    tree = ast.parse(START.read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert len(START.read_text(encoding="utf-8").splitlines()) < 100


def imported(*places):
    """Names of what is imported anywhere in these files and folders, our own and the standard library's left out."""
    root = START.parent
    files = [
        file
        for place in places
        for file in ([root / place] if (root / place).is_file() else (root / place).rglob("*.py"))
    ]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    names = {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    own = {"bigmodel", "benchmarks", "scripts", "tests"} | {
        file.stem for folder in ("scripts", "tests") for file in (root / folder).glob("*.py")
    }
    return names - sys.stdlib_module_names - own


def required(file):
    """Package -> version, each with its reason beside it."""
    lines = [line for line in (START.parent / file).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    assert not [line for line in lines if "  # " not in line], "a line without its reason"
    pairs = [re.match(r"([\w-]+)(?:\[\w+\])?==(\S+)", line).groups() for line in lines]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def packages(modules):
    return {package.lower().replace("_", "-") for module in modules for package in packages_distributions()[module]}


def test_what_the_app_imports_is_pinned_and_what_is_pinned_is_imported():
    assert packages(imported("app.py", "bigmodel", "pages")) == set(required("requirements.txt"))


def test_what_tests_and_scripts_import_is_pinned():
    pinned = set(required("requirements.txt")) | set(required("requirements-dev.txt"))
    assert packages(imported("tests", "scripts")) <= pinned
