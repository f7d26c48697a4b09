"""Shell completions, generated from the command tree itself.

    python -m adec.cli.completion bash|zsh|fish      # one script to stdout
    python -m adec.cli.completion --write completions

The scripts are static: Tab never starts Python. The shell itself lists the user's profiles, and the
models that adec saw when it last looked for any (`adec inspect models`, or a run with a name).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from adec.decoding.registry import METHODS
from adec.decoding.settings import meanings

MODEL_NAMES = '"${ADEC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/adec}"/listing/names'
"""Written by `adec.models.listing.save_names`, which leaves out names that a shell might expand."""
MODEL_OPTIONS = ("--small", "--large", "--model")
MODEL_COMMANDS = ("inspect", "calibrate")
"""Commands whose arguments may be models."""
USER_PROFILES = '"${ADEC_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/adec}"/profiles'


@dataclass(frozen=True)
class Option:
    """An option, as far as a shell must know it."""

    names: tuple[str, ...]
    help: str
    value: str
    """Its value: "" for none, "files", "models", "profiles", "any", or words with spaces."""
    repeats: bool


@dataclass(frozen=True)
class Command:
    """A verb with its options; `name` is empty for adec itself."""

    name: str
    help: str
    options: tuple[Option, ...]


def commands() -> list[Command]:
    """The command tree, adec itself first."""
    import typer.main

    from adec.cli.app import app

    group: Any = typer.main.get_command(app)
    result = [Command("", group.help or "", tuple(_options(group)))]
    for name, command in sorted(group.commands.items()):
        help_line = (command.help or "").strip().splitlines()[0]
        result.append(Command(name, help_line, tuple(_options(command))))
    return result


def _options(command: Any) -> Iterator[Option]:
    for parameter in command.params:
        if parameter.param_type_name != "option":
            continue
        names = (*parameter.opts, *parameter.secondary_opts)
        text = (parameter.help or "").strip().splitlines()[0]
        yield Option(names, text, _value(parameter), parameter.multiple)
    yield Option(("--help", "-h"), "Show this message and exit.", "", False)


def _value(parameter: Any) -> str:
    if parameter.is_flag:
        return ""
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return " ".join(str(choice) for choice in get_args(annotation))
    by_name = {
        "--pair": "profiles",
        "--check": "profiles",
        **dict.fromkeys(MODEL_OPTIONS, "models"),
        "--strategy": " ".join(("auto", *METHODS)),
        "--strategies": " ".join(METHODS),
        "--set": " ".join(
            f"{method.name}.{name}="
            for method in METHODS.values()
            for name, _, _ in meanings(method.settings)
        ),
    }
    if parameter.opts[0] in by_name:
        return by_name[parameter.opts[0]]
    return "files" if (parameter.metavar or "") in ("PATH", "FILE") else "any"


def bash() -> str:
    """A script for bash 3.2 and later."""
    tree = commands()
    verbs = " ".join(command.name for command in tree if command.name)
    lines = [
        "# bash completion for adec; made by python -m adec.cli.completion, do not edit",
        "_adec_profiles() {",
        f"    local file folder={USER_PROFILES}",
        f'    printf "%s\\n" {_shipped()}',
        '    for file in "$folder"/*.toml; do [ -e "$file" ] && basename "$file" .toml; done',
        "}",
        "_adec_models() {",
        f'    local name file={MODEL_NAMES} typed="${{word%"${{word##*:}}"}}"',
        '    COMPREPLY=($(compgen -f -- "$cur"))',
        # no compgen -W, which expands what it is given
        "    while IFS= read -r name; do",
        '        [[ $name == "$word"* && $name =~ ^[A-Za-z0-9._/:+@-]+$ ]] &&',
        '            COMPREPLY+=("${name#"$typed"}")',
        f'    done < <(printf "%s\\n" {_built_in()}; cat "$file" 2>/dev/null)',
        "}",
        "_adec() {",
        '    local cur="${COMP_WORDS[COMP_CWORD]}" word="${COMP_WORDS[COMP_CWORD]}" verb="" i',
        "    # bash takes a:b for three words",
        "    for ((i = COMP_CWORD; i > 1; i--)); do",
        "        [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i-1]} == : ]] || break",
        '        word="${COMP_WORDS[i-1]}$word"',
        "    done",
        '    local prev="${COMP_WORDS[i-1]}"',
        "    [[ $cur != : ]] || cur=",
        "    COMPREPLY=()",
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        f'        case "${{COMP_WORDS[i]}}" in {"|".join(verbs.split())})',
        '            verb="${COMP_WORDS[i]}"; break ;;',
        "        esac",
        "    done",
        '    case "$verb $prev" in',
    ]
    for command in tree:
        for option in command.options:
            reply = _bash_reply(option.value)
            if reply:
                names = "|".join(f'"{command.name} {name}"' for name in option.names)
                lines.append(f"        {names}) {reply}; return ;;")
    lines += ["    esac", '    case "$verb" in']
    for command in tree:
        words = " ".join(name for option in command.options for name in option.names)
        words = f"{verbs} {words}" if not command.name else words
        other = (
            ""
            if not command.name
            else " [[ $cur == -* ]] || { _adec_models; return; };"
            if command.name in MODEL_COMMANDS
            else ' [[ $cur == -* ]] || { COMPREPLY=($(compgen -f -- "$cur")); return; };'
        )
        lines.append(
            f'        "{command.name}"){other} COMPREPLY=($(compgen -W "{words}" -- "$cur")) ;;'
        )
    lines += ["    esac", "}", "complete -o filenames -o bashdefault -F _adec adec", ""]
    return "\n".join(lines)


def _bash_reply(value: str) -> str:
    if value == "":
        return ""
    if value == "any":
        return ":"
    if value == "models":
        return "_adec_models"
    if value == "files":
        return 'COMPREPLY=($(compgen -f -- "$cur"))'
    words = "$(_adec_profiles)" if value == "profiles" else value
    reply = f'COMPREPLY=($(compgen -W "{words}" -- "$cur"))'
    return f"{reply}; compopt -o nospace 2>/dev/null" if "=" in value else reply


def zsh() -> str:
    """A script for zsh's own completion system."""
    tree = commands()
    lines = [
        "#compdef adec",
        "# made by python -m adec.cli.completion, do not edit",
        "_adec_profiles() {",
        f"    local folder={USER_PROFILES}",
        f"    local -a names; names=({_shipped()} $folder/*.toml(N:t:r))",
        "    compadd -a names",
        "}",
        "_adec_models() {",
        f"    local file={MODEL_NAMES}",
        f"    local -a names; names=({_built_in()})",
        '    [[ -r $file ]] && names+=(${(f)"$(<$file)"})',
        "    compadd -a names; _files",
        "}",
        "_adec() {",
        "    local context state state_descr line; typeset -A opt_args",
        "    _arguments -C \\",
        *(f"        {spec} \\" for option in tree[0].options for spec in _zsh_specs(option)),
        "        '1: :->verb' '*:: :->rest'",
        "    case $state in",
        "        verb) local -a verbs; verbs=(",
        *(f"            {_quoted(f'{c.name}:{c.help}')}" for c in tree if c.name),
        "        ); _describe 'command' verbs ;;",
        "        rest) case $line[1] in",
    ]
    for command in tree[1:]:
        lines.append(f"            {command.name}) _arguments -s \\")
        lines += [
            f"                {spec} \\"
            for option in command.options
            for spec in _zsh_specs(option)
        ]
        what = "model:_adec_models" if command.name in MODEL_COMMANDS else "prompt or file:_files"
        lines.append(f"                '*:{what}' ;;")
    lines += ["        esac ;;", "    esac", "}", '_adec "$@"', ""]
    return "\n".join(lines)


def _zsh_specs(option: Option) -> Iterator[str]:
    actions = {
        "": "",
        "files": ":file:_files",
        "models": ":model:_adec_models",
        "profiles": ":profile:_adec_profiles",
        "any": ":value: ",
    }
    action = actions.get(option.value, f":value:({option.value})")
    if "=" in option.value:
        action = f":setting:compadd -S '' {option.value}"
    text = option.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    exclude = "*" if option.repeats else f"({' '.join(option.names)})"
    for name in option.names:
        yield _quoted(f"{exclude}{name}[{text}]{action}")


def fish() -> str:
    """A script for fish 3 and later."""
    tree = commands()
    lines = [
        "# fish completion for adec; made by python -m adec.cli.completion, do not edit",
        "function __adec_profiles",
        f"    printf '%s\\n' {_shipped()}",
        "    set -l folder ~/.local/share/adec",
        "    set -q XDG_DATA_HOME; and set folder $XDG_DATA_HOME/adec",
        "    set -q ADEC_HOME; and set folder $ADEC_HOME",
        "    for file in $folder/profiles/*.toml",
        "        basename $file .toml",
        "    end",
        "end",
        "function __adec_models",
        f"    printf '%s\\n' {_built_in()}",
        "    set -l folder ~/.cache/adec",
        "    set -q XDG_CACHE_HOME; and set folder $XDG_CACHE_HOME/adec",
        "    set -q ADEC_HOME; and set folder $ADEC_HOME",
        "    test -r $folder/listing/names; and cat $folder/listing/names",
        "end",
    ]
    for command in tree:
        if command.name:
            lines.append(
                f"complete -c adec -n __fish_use_subcommand -f -a {command.name} "
                f"-d {_quoted(command.help)}"
            )
        where = (
            f"'__fish_seen_subcommand_from {command.name}'"
            if command.name
            else "__fish_use_subcommand"
        )
        if command.name in MODEL_COMMANDS:
            lines.append(f"complete -c adec -n {where} -a '(__adec_models)'")
        lines += [f"complete -c adec -n {where} {_fish(option)}" for option in command.options]
    return "\n".join([*lines, ""])


def _fish(option: Option) -> str:
    names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
    values = {
        "": "",
        "files": " -r -F",
        "models": " -r -F -a '(__adec_models)'",
        "profiles": " -x -a '(__adec_profiles)'",
        "any": " -x",
    }
    value = values.get(option.value, f" -x -a {_quoted(option.value)}")
    return f"{names}{value} -d {_quoted(option.help)}"


def _built_in() -> str:
    from adec.models.couples import AUTO
    from adec.models.stores import built_in

    return " ".join((AUTO, *(model.name for model in built_in())))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _shipped() -> str:
    from adec.places import shipped_profiles

    return " ".join(sorted(path.stem for path in shipped_profiles().glob("*.toml")))


SCRIPTS: dict[str, tuple[str, Callable[[], str]]] = {
    "bash": ("adec.bash", bash),
    "zsh": ("_adec", zsh),
    "fish": ("adec.fish", fish),
}


def main(arguments: list[str]) -> None:
    """Print one script, or write all of them into a folder."""
    if len(arguments) == 2 and arguments[0] == "--write":
        for name, script in SCRIPTS.values():
            (Path(arguments[1]) / name).write_text(script(), encoding="utf-8")
    elif len(arguments) == 1 and arguments[0] in SCRIPTS:
        sys.stdout.write(SCRIPTS[arguments[0]][1]())
    else:
        sys.exit("usage: python -m adec.cli.completion bash|zsh|fish, or --write FOLDER")


if __name__ == "__main__":
    main(sys.argv[1:])
