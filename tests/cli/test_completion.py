"""The shipped completions are the ones that the command tree gives, and shells accept them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from adec.cli.completion import SCRIPTS, commands

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_they_are_current(shell: str) -> None:
    name, script = SCRIPTS[shell]
    hint = "run: python -m adec.cli.completion --write completions"
    assert (FOLDER / name).read_text(encoding="utf-8") == script(), hint


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shell_reads_them(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", FOLDER / SCRIPTS[shell][0]], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def complete(line: str, folder: Path) -> list[str]:
    """What bash offers after `line`."""
    words = line.split(" ")
    script = f"""
        source {FOLDER / "adec.bash"}
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _adec; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder)
    return done.stdout.split()


def test_bash_offers_verbs_options_files_profiles_and_strategies(
    tmp_path: Path, home: Path
) -> None:
    (tmp_path / "model.gguf").touch()
    (home / "profiles").mkdir()
    (home / "profiles" / "mine.toml").touch()
    assert "run" in complete("adec ", tmp_path)
    assert "--strategy" in complete("adec run --str", tmp_path)
    assert complete("adec run --small mo", tmp_path) == ["model.gguf"]
    assert {"practice", "mine"} <= set(complete("adec run --pair ", tmp_path))
    assert complete("adec run -m ll", tmp_path) == []
    assert {"plain", "ead"} <= set(complete("adec run --strategy ", tmp_path))
    assert "ead.up=" in complete("adec run --set ead.u", tmp_path)
    assert complete("adec run --temp ", tmp_path) == []


def test_bash_offers_models_by_name_and_expands_none_of_them(tmp_path: Path, home: Path) -> None:
    (home / "listing").mkdir()
    names = ["llama3.2:1b", "llama3.2:3b", "Qwen/Qwen2.5", "$(touch${IFS}harm)", "-x `touch harm`"]
    (home / "listing" / "names").write_text("".join(f"{name}\n" for name in names))
    assert complete("adec run -m ll", tmp_path) == ["llama3.2:1b", "llama3.2:3b"]
    # bash divides words at colons, and what is offered goes behind the last one
    assert complete("adec run -m llama3.2 : 3", tmp_path) == ["3b"]
    assert complete("adec run --small practice :", tmp_path)[:2] == ["small", "large"]
    assert "auto" in complete("adec run --small ", tmp_path)
    assert complete("adec inspect Qw", tmp_path) == ["Qwen/Qwen2.5"]
    assert complete("adec run -m ", tmp_path).count("Qwen/Qwen2.5") == 1
    assert not (tmp_path / "harm").exists()


def test_every_option_is_there() -> None:
    run = next(command for command in commands() if command.name == "run")
    names = {name for option in run.options for name in option.names}
    assert {"--pair", "--no-mmap", "-n", "--help"} <= names
    for _, script in SCRIPTS.values():
        text = script()
        missing = [
            n
            for n in names
            if n not in text and f"-l {n[2:]}" not in text and f"-s {n[1:]}" not in text
        ]
        assert not missing
