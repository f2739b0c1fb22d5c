"""The command line: its help, its exit status, and where its words go."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from openbell.cli import main
from openbell.cli.output import Output
from openbell.cli.root import root
from openbell.errors import CaptureError, ConfigError, FeedNotFound

VERBS = (
    "bars",
    "book",
    "demo",
    "record",
    "run",
    "scan",
    "simulate",
    "snapshot",
    "status",
    "subscribe",
    "symbols",
    "tail",
    "unsubscribe",
)


def test_the_verbs_are_those_that_the_documentation_names() -> None:
    assert tuple(sorted(root.commands)) == VERBS
    commands = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    assert [verb for verb in VERBS if f"## `openbell {verb}" not in commands] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"Example: openbell {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_is_understood(verb: str) -> None:
    command = root.commands[verb]
    assert command.epilog is not None
    words = shlex.split(command.epilog.removeprefix("Example: openbell "))
    assert words[0] == verb
    # Parsed, not run: an unknown option or a missing argument raises.
    command.make_context(verb, words[1:])


def test_a_typing_mistake_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshoot", "cn"]) == 2
    assert "snapshoot" in capsys.readouterr().err


def test_an_unknown_option_is_an_error_of_usage() -> None:
    assert main(["status", "--jsno"]) == 2


def test_a_capture_that_does_not_exist_is_an_error_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--capture", str(tmp_path / "none.gz")]) == 2
    assert "none.gz" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan"])
def test_a_speed_that_is_none_is_an_error_of_configuration(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--speed", speed]) == 2
    assert "speed" in capsys.readouterr().err


def test_a_universe_larger_than_the_market_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--symbols", "1000000"]) == 2
    assert "1000000" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "feed.toml"
    config.write_text('[feed]\nnme = "cn"\n[source]\nvendor = "alltick"\n')
    assert main(["run", str(config)]) == 2
    told = capsys.readouterr().err
    assert str(config) in told and "did you mean 'name'?" in told


def test_a_configuration_can_be_checked_without_running_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "feed.toml"
    config.write_text('[feed]\nname = "btc"\n[source]\nvendor = "binance"\nsymbols = ["btcusdt"]\n')
    assert main(["run", "--check", str(config)]) == 0
    assert "1 symbols from wss://stream.binance.com:9443/stream" in capsys.readouterr().out


def test_a_vendor_that_needs_a_token_is_refused_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "feed.toml"
    config.write_text('[feed]\nname = "cn"\n[source]\nvendor = "alltick"\nsymbols = ["600519.SH"]\n')
    assert main(["run", "--check", str(config)]) == 2
    assert "token_env" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["snapshot"], ["status"]])
def test_a_feed_that_is_not_running_fails_with_one_message(
    verb: list[str], feed_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, feed_name]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert feed_name in told.err and told.err.count("\n") == 1


def test_no_running_feed_is_not_a_failure_when_none_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"feeds": []}
    assert "no feed is running" in told.err


def test_watching_needs_a_feed() -> None:
    assert main(["status", "--watch"]) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("feed.toml: feed.name: is empty"), 2),
        (FeedNotFound("no feed 'x' is running"), 1),
        (CaptureError("a.gz: line 3: no time"), 1),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_an_error_is_one_line_and_a_status_never_a_traceback(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.setitem(root.commands, "status", click.Command("status", callback=fail))
    assert main(["status"]) == status
    told = capsys.readouterr()
    assert told.out == ""
    # Click ends the line on which ^C was typed.
    assert told.err.strip().startswith("openbell: ") and told.err.strip().count("\n") == 0


def test_a_mistake_in_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    monkeypatch.setitem(root.commands, "status", click.Command("status", callback=fail))
    with pytest.raises(ZeroDivisionError):
        main(["status"])


def test_with_json_people_read_stderr_and_programs_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.say("for people")
    output.result({"ok": True})
    told = capsys.readouterr()
    assert (told.out, told.err) == ('{"ok": true}\n', "for people\n")


def test_without_json_people_read_stdout_and_there_is_no_object(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.say("for people")
    output.result({"ok": True})
    assert capsys.readouterr().out == "for people\n"


def test_a_result_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Output(as_json=True).result({"last": float("nan")})


def test_the_command_line_itself_loads_nothing_heavy() -> None:
    probe = "import openbell.cli.root, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert "click" in loaded
    assert {"numpy", "rich", "picows", "uvloop", "asyncio", "msgspec"} & set(loaded) == set()


def test_a_reader_that_has_enough_is_no_error() -> None:
    # `head -c 1` closes the pipe while the help is still being written to it, or before.
    command = f"{sys.executable} -m openbell demo --help | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("vendor", ["os:path", "no_such_module.here:X", "..:X"])
def test_checking_a_vendor_that_is_none_is_a_mistake_in_the_file(
    vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "feed.toml"
    file.write_text(f'[feed]\nname = "x"\n[source]\nvendor = "{vendor}"\nsymbols = ["A"]\n', "utf-8")
    assert main(["run", "--check", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"openbell: {file}: source.vendor: {vendor!r}")


MOMENTS = ["signal", "openbell.cli.interrupt", "openbell.cli.root", "click", "click.core", "openbell.cli.status"]
MOMENTS += ["openbell.demo", "openbell.supervisor", "openbell.signals"]
INTERRUPT = """
import os, signal, sys

moment, sys.argv[1:] = sys.argv[1], ["demo", "--seconds", "1"]
del sys.modules["signal"]

def strike(event, arguments):
    global moment
    if event == "import" and arguments[0] == moment:
        moment = None
        os.kill(os.getpid(), 2)

sys.addaudithook(strike)
from openbell.cli import main

try:
    sys.exit(main())
finally:
    print("struck" if moment is None else "never imported")
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_while_modules_are_loaded_ends_quietly(moment: str) -> None:
    # Ctrl-C strikes as that module begins to be imported: the same place in every run, unlike a moment in time.
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT, moment], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout in ("", "struck\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", [["symbols"], ["run"], ["run", "--check"]])
def test_a_command_that_waits_for_a_list_can_be_interrupted(
    tmp_path: Path, verb: list[str], number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        file = tmp_path / "feed.toml"
        file.write_text(
            '[feed]\nname = "x"\n[source]\nvendor = "binance"\n'
            f'symbols_url = "http://127.0.0.1:{silent.getsockname()[1]}/"\n',
            "utf-8",
        )
        command = [sys.executable, "-m", "openbell", *verb, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            asking, _ = silent.accept()
            with asking:
                process.send_signal(number)
                said, complaint = process.communicate(timeout=60)
                # Who asks does not outlive who wanted to know.
                asking.settimeout(60)
                while asking.recv(65_536):
                    continue
    assert (process.returncode, said, complaint) == (130, "", "")


@pytest.mark.parametrize("arguments", [["--version"], ["no-such-verb"]])
def test_an_interrupt_after_the_end_does_not_change_the_exit_status(arguments: list[str]) -> None:
    program = (
        "import atexit, os, sys\nfrom openbell.cli import main\n"
        "class Late:\n    def __del__(self, kill=os.kill, pid=os.getpid()):\n        kill(pid, 2)\n"
        "late = Late()\natexit.register(os.kill, os.getpid(), 2)\natexit.register(os.kill, os.getpid(), 15)\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == (0 if arguments == ["--version"] else 2), done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    program = (
        "import signal\nfrom openbell.cli import interrupt\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "interrupt.leave_at_once()\nsignal.raise_signal(signal.SIGINT)\nprint('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_the_version_is_told_by_a_tree_that_was_never_installed() -> None:
    # Nothing but the sources and the dependencies is in sight, wherever they are installed.
    program = (
        "import importlib.metadata as metadata, sys\n"
        "def nothing(name):\n    raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = nothing\n"
        "from openbell.cli import main\nsys.exit(main(['--version']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "openbell 0+unknown\n", "")
