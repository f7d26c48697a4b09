"""`adec run` on a terminal without a prompt: question after question, and commands between them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from adec.answering.conversation import Conversation
from adec.cli.answer_output import show_answer
from adec.cli.failures import report
from adec.cli.options import UNLIMITED
from adec.decoding.registry import remaining
from adec.decoding.settings import as_typed
from adec.display import Display, Quiet, Several
from adec.display.sanitise import one_line
from adec.display.wording import count
from adec.errors import AdecError, ContextError, UsageError
from adec.events.records import End, Event, Step
from adec.places import typed_path
from adec.sampling import fresh_seed
from adec.whole_file import whole_file

if TYPE_CHECKING:
    from adec.answering.session import Session

FULL = "/clear begins anew, -c N when adec starts holds more"
QUOTES = '"""'
SHOWN = 60
"""Characters of a system message that are shown again."""

HELP = {
    "/system TEXT": "how to answer, from the next question on; without TEXT: no system message",
    "/strategy NAME": "decode in another way; without NAME: which there are",
    "/set KEY=VALUE": "an option of the strategy, or temp, top-k, top-p, min-p, seed, max-tokens,"
    " stop-when-lost",
    "/retry": "answer the last question once more, with a new seed",
    "/save FILE": "write the conversation, as messages if FILE ends in .json; /save! replaces FILE",
    "/clear": "forget what was said",
    "/help": "this list",
    "/bye": "end, as Ctrl-D does",
    QUOTES: "begins and ends a question of several lines",
}


class Heard(Quiet):
    """What an answer said, and how it ended."""

    def __init__(self) -> None:
        self.text = ""
        self.finish: str | None = None

    def show(self, event: Event) -> None:
        if isinstance(event, Step):
            self.text += "".join(token.text for token in event.tokens)
        elif isinstance(event, End):
            self.finish = event.summary["finish"]


class Talk:
    """A conversation at a terminal."""

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        display: Callable[[], Display],
        *,
        assignments: tuple[str, ...] = (),
        quiet: bool = False,
        read_line: Callable[[str], str] = input,
    ) -> None:
        """`display` makes the display of one answer; `assignments` are those of --set."""
        self._session = session
        self._conversation = conversation
        self._display = display
        self._assignments = list(assignments)
        self._quiet = quiet
        self._read_line = read_line
        self._commands: dict[str, Callable[[str], None]] = {
            "system": self._system,
            "strategy": self._strategy,
            "set": self._set,
            "retry": self._retry,
            "save": self._save,
            "save!": lambda name: self._save(name, replace=True),
            "clear": self._clear,
            "help": self._help,
        }

    def run(self) -> int:
        """Read and answer until the end of input. Returns the exit code."""
        with suppress(ImportError):
            import readline  # noqa: F401 - input() then edits lines and has a history
        if not self._quiet:
            self._greet()
        while True:
            try:
                line = self._read()
            except KeyboardInterrupt:
                print()
                continue
            except EOFError:
                print()
                return 0
            if line.strip() in ("/bye", "/exit", "/quit"):
                return 0
            try:
                self._take(line)
            except ContextError as error:
                report(f"the conversation no longer fits: {error.message}. {FULL}")
            except AdecError as error:
                report(str(error))
            except KeyboardInterrupt:  # the second one, while an answer did not end at once
                print()

    def _greet(self) -> None:
        session = self._session
        names = " and ".join(
            one_line(engine.info.name) for _, engine in sorted(session.engines.items())
        )
        print(f"{names}, {session.plan.method.name}. /help lists the commands, Ctrl-D ends.")
        if not self._has_template:
            print("No chat template here: every line continues the text so far.")

    @property
    def _has_template(self) -> bool:
        template = self._session.engines["large"].vocabulary.chat_template
        return template is not None and not self._conversation.like.raw

    def _read(self) -> str:
        line = self._read_line("> ")
        if not line.lstrip().startswith(QUOTES):
            return line
        lines = [line.lstrip()[len(QUOTES) :]]
        while QUOTES not in lines[-1]:
            lines.append(self._read_line(". "))
        lines[-1] = lines[-1].partition(QUOTES)[0]
        return " " + "\n".join(lines)  # a blank before it: never a command

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        if not line.startswith("/"):
            self._ask(line if self._conversation.like.raw else line.strip())
            return
        word, _, rest = line[1:].strip().partition(" ")
        if word in self._commands:
            self._commands[word](rest.strip())
            return
        near = difflib.get_close_matches(word, self._commands, n=1)
        guess = f"did you mean /{near[0]}?" if near else "/help lists the commands."
        raise UsageError(
            f"there is no command /{word[:40]}",
            hint=f"{guess} A question may begin with a blank and a slash",
        )

    def _ask(self, text: str) -> None:
        conversation, heard = self._conversation, Heard()
        display = Several(self._display(), heard)
        try:
            with display:
                show_answer(self._session, conversation.ask(text), display, self._quiet)
        finally:
            conversation.keep(text, heard.text)
        if heard.finish == "context":
            report(f"the context is full. {FULL}")

    # ---- commands

    def _system(self, text: str) -> None:
        if text and not self._has_template:
            raise UsageError("a system message has no place here: there is no chat template")
        conversation = self._conversation
        conversation.like = dataclasses.replace(conversation.like, system=text or None)
        shown = one_line(text)
        shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
        self._confirm(f"system message: {shown}" if text else "no system message")

    def _strategy(self, name: str) -> None:
        plan = self._session.plan
        if not name:
            names = remaining(plan.models)
            print(", ".join(f"{n} (now)" if n == plan.method.name else n for n in names))
            return
        self._switch(name, [word for word in self._assignments if _is_of(name, word)])

    def _set(self, word: str) -> None:
        if not word:
            self._show_settings()
            return
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            raise UsageError(f"/set {word[:80]} is not KEY=VALUE", hint="such as /set temp=0.8")
        like, name = self._conversation.like, key.replace("-", "_")
        name = {"temp": "temperature", "n": "max_tokens"}.get(name, name)
        if name == "max_tokens":
            limit = UNLIMITED if value == "-1" else int(_number(key, value, whole=True))
            if limit < 1:
                raise UsageError(f"{key} {limit} is neither 1 or more nor -1, which is no limit")
            self._conversation.like = dataclasses.replace(like, max_tokens=limit)
        elif name == "stop_when_lost":
            if value not in ("on", "off"):
                raise UsageError(f"{key} is {value[:80]!r}, neither on nor off")
            self._session.take(self._session.plan.with_gate(value == "on"))
        elif name in {field.name for field in dataclasses.fields(like.sampler)}:
            number = _number(key, value, whole=name in ("top_k", "seed"))
            if name == "seed" and number == -1:
                number = fresh_seed()
            if name == "top_k":
                number = max(0, number)
            changed: dict[str, Any] = {name: number}
            sampler = dataclasses.replace(like.sampler, **changed)
            self._conversation.like = dataclasses.replace(like, sampler=sampler)
        else:
            strategy, dot, _ = key.partition(".")
            if not dot:
                strategy = self._session.plan.method.name
                key = f"{strategy}.{name}"
            kept = [earlier for earlier in self._assignments if _is_of(strategy, earlier)]
            self._switch(strategy, [*kept, f"{key}={value}"])
            self._assignments.append(f"{key}={value}")
            return
        shown = _as_option(name)
        self._confirm(f"{shown}={as_typed(self._known_settings()[shown])}")

    def _show_settings(self) -> None:
        known = self._known_settings()
        print(", ".join(f"{name}={as_typed(value)}" for name, value in known.items()))

    def _known_settings(self) -> dict[str, Any]:
        """All that /set takes, as it is typed."""
        plan, like = self._session.plan, self._conversation.like
        own = dataclasses.asdict(plan.settings)
        known: dict[str, Any] = {f"{plan.method.name}.{name}": own[name] for name in own}
        for name, value in dataclasses.asdict(like.sampler).items():
            known[_as_option(name)] = value
        known["stop-when-lost"] = "on" if plan.stop_when_lost else "off"
        known["exactness"] = "bitwise" if plan.bitwise else "rounding"
        known["max-tokens"] = -1 if like.max_tokens == UNLIMITED else like.max_tokens
        return known

    def _switch(self, name: str, assignments: list[str]) -> None:
        plan = self._session.plan.with_strategy(name, tuple(assignments))
        if self._conversation.like.verify is not None and not plan.method.whole_answers:
            raise UsageError(
                f"{name} compares no answers", hint="start without --verify or --tests"
            )
        before = self._session.plan
        self._session.take(plan)
        try:
            self._session.check_exactness()
        except UsageError:
            self._session.take(before)
            raise
        self._confirm(f"{plan.method.name}, {self._session.guarantee}")

    def _retry(self, _: str) -> None:
        conversation = self._conversation
        last = conversation.take_back()
        if last is None:
            raise UsageError("there is no answer to try again")
        sampler = conversation.like.sampler
        if sampler.greedy and not self._quiet:
            print("Temperature 0 gives the same answer again; /set temp=0.8 gives another.")
        seed = (sampler.seed + 1) % 2**32
        conversation.like = dataclasses.replace(
            conversation.like, sampler=dataclasses.replace(sampler, seed=seed)
        )
        before = len(conversation.exchanges)
        try:
            self._ask(last[0])
        finally:
            if len(conversation.exchanges) == before:
                conversation.keep(*last)

    def _save(self, name: str, *, replace: bool = False) -> None:
        if not name:
            raise UsageError("/save needs the name of a file", hint="for example: /save talk.json")
        path = typed_path(name)
        conversation = self._conversation
        words = conversation.as_json() if path.suffix == ".json" else conversation.as_text()
        try:
            if path.is_dir():
                raise UsageError(f"{path} is a folder", hint=f"/save {path / 'talk.json'}")
            if path.exists() and not replace:
                raise UsageError(f"{path} is there already", hint=f"/save! {name} replaces it")
            with whole_file(path) as stream:
                stream.write(words)
        except OSError as error:  # of a look at it, too: a name may be too long for a file
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
        print(f"{one_line(str(path))}: {self._answered}")

    def _clear(self, _: str) -> None:
        forgotten, system = self._answered, self._conversation.like.system
        self._conversation.clear()
        stays = "" if system is None else "; the system message stays"
        self._confirm(f"{forgotten} forgotten{stays}")

    @property
    def _answered(self) -> str:
        """How much was said, in words."""
        number = len(self._conversation.exchanges)
        return count(number, "question and its answer", "questions and answers")

    def _confirm(self, line: str) -> None:
        """Say what a command did."""
        if not self._quiet:
            print(line)

    def _help(self, _: str) -> None:
        width = max(map(len, HELP))
        for form, meaning in HELP.items():
            print(f"  {form:{width}}  {meaning}")


def _as_option(name: str) -> str:
    """A setting's name as it is typed."""
    return "temp" if name == "temperature" else name.replace("_", "-")


def _is_of(strategy: str, assignment: str) -> bool:
    return assignment.partition(".")[0].strip() == strategy


def _number(key: str, value: str, *, whole: bool) -> float | int:
    try:
        return int(value) if whole else float(value)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"{key} is {value[:80]!r}, not {kind}") from None
