"""`adec run` on a terminal without a prompt: question after question, commands between them."""

from __future__ import annotations

import json
import os
import pty
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adec.answering.choice import Choice
from adec.answering.conversation import Conversation
from adec.answering.plan import plan
from adec.answering.session import Question, Session, open_session
from adec.cli.talk import HELP, Talk
from adec.display import Quiet
from adec.engines.base import OpenOptions
from adec.events.records import End, Event, Start, Step
from tests.cli.command import start
from tests.cli.test_process import read_until
from tests.engines.gguf.tiny_gguf import write_tiny_gguf

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


class Seen(Quiet):
    """The events of all answers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def show(self, event: Event) -> None:
        self.events.append(event)

    @property
    def prompts(self) -> list[str]:
        return [event.prompt for event in self.events if isinstance(event, Start)]

    @property
    def answers(self) -> list[str]:
        texts: list[str] = []
        for event in self.events:
            if isinstance(event, Start):
                texts.append("")
            elif isinstance(event, Step):
                texts[-1] += "".join(token.text for token in event.tokens)
        return texts

    @property
    def read(self) -> list[int]:
        """Tokens of the prompt that each answer read."""
        counts: list[int] = []
        for event in self.events:
            if isinstance(event, Start):
                counts.append(0)
            elif isinstance(event, Step):
                counts[-1] += event.fed("large", prompt=True)
        return counts


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    return write_tiny_gguf(folder / "chat.gguf", seed=16, chat_template=TEMPLATE)


@pytest.fixture
def session(chatty: Path) -> Iterator[Session]:
    with open_session(
        plan(Choice(model=str(chatty), strategy="lookup")), OpenOptions(threads=1, context=512)
    ) as opened:
        yield opened


Say = Callable[..., Seen]


@pytest.fixture
def say(session: Session) -> Say:
    def say(*lines: str, like: Question | None = None) -> Seen:
        seen, typed = Seen(), iter(lines)

        def read_line(_: str) -> str:
            try:
                return next(typed)
            except StopIteration:
                raise EOFError from None

        like = like or Question("", max_tokens=12)
        talk = Talk(session, Conversation(like), lambda: seen, read_line=read_line)
        assert talk.run() == 0
        return seen

    return say


def test_a_question_has_the_whole_conversation_before_it(say: Say) -> None:
    seen = say("/system Be brief.", "one", "two")
    first, second = seen.answers
    assert seen.prompts[0] == "[system]Be brief.[user]one[assistant]"
    assert seen.prompts[1] == f"{seen.prompts[0]}{first}[user]two[assistant]"
    assert second


def test_only_what_is_new_is_read_and_the_answers_are_those_of_fresh_runs(
    say: Say, session: Session
) -> None:
    seen = say("one two three four five six seven eight", "and then", "/strategy plain", "go on")
    earlier: tuple[tuple[str, str], ...] = ()
    starts = [event for event in seen.events if isinstance(event, Start)]
    asked = ("one two three four five six seven eight", "and then", "go on")
    for text, answer, read in zip(asked, seen.answers, seen.read, strict=True):
        fresh = Seen()
        for event in session.answer(Question(text, max_tokens=12, earlier=earlier)):
            fresh.show(event)
        assert fresh.answers == [answer]
        assert read <= fresh.read[0] - (0 if not earlier else 8)
        assert starts.pop(0).prompt_held == fresh.read[0] - read
        earlier = (*earlier, (text, answer))


def test_a_model_without_a_template_continues_the_text(
    tiny_pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    seen, typed = Seen(), iter(["one", "/system no", "two"])
    with open_session(
        plan(Choice(model=str(tiny_pair[0]), strategy="plain")), OpenOptions(threads=1)
    ) as session:
        talk = Talk(
            session, Conversation(Question("", max_tokens=5)), lambda: seen,
            read_line=lambda _: next(typed, None) or _ended(),
        )  # fmt: skip
        assert talk.run() == 0
    assert seen.prompts == ["one", f"one{seen.answers[0]}\ntwo"]
    out, err = capsys.readouterr()
    assert "continues the text" in out and "no chat template" in err


def _ended() -> str:
    raise EOFError


def test_retry_asks_the_last_question_again_with_another_seed(say: Say) -> None:
    seen = say("/set temp=1.5", "/set seed=4", "one", "/retry")
    assert seen.prompts[0] == seen.prompts[1]
    starts = [event for event in seen.events if isinstance(event, Start)]
    assert [start.sampling["seed"] for start in starts] == [4, 5]
    assert [start.sampling["temperature"] for start in starts] == [1.5, 1.5]


def test_clear_forgets_what_was_said(say: Say) -> None:
    assert say("one", "/clear", "two").prompts[1] == "[user]two[assistant]"


def test_settings_of_the_strategy_and_of_sampling_can_be_changed(
    say: Say, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    say(
        "/set least=3",
        "/set n=3",
        "/set top-k=-1",
        "/strategy recycling",
        "/strategy lookup",
        "/set",
    )
    out = capsys.readouterr().out
    assert session.plan.settings.least == 3
    assert "lookup.least=3" in out and "max-tokens=3" in out and "top-k=0" in out


def test_settings_are_shown_as_they_are_typed(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say("/strategy speculate", "/set temp=0.5", "/set seed=-1", "/set")
    shown = capsys.readouterr().out.splitlines()[-2].split(", ")
    capsys.readouterr()
    sampling = [word for word in shown if "." not in word.partition("=")[0]]
    for word in shown:
        if word.partition("=")[0] != "exactness" and not word.endswith("=none"):
            say("/strategy speculate", f"/set {word}")
    assert capsys.readouterr().err == ""
    assert "temp=0.5" in sampling and "seed=-1" not in sampling and "True" not in str(shown)


def test_a_conversation_that_promised_bits_takes_no_strategy_that_does_not_keep_them(
    chatty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = plan(Choice(model=str(chatty), strategy="lookup", exactness="bitwise"))
    typed = iter(["/strategy adadec", "/set adadec.ahead=2", "/strategy plain", "/set"])

    def read_line(_: str) -> str:
        line = next(typed, None)
        if line is None:
            raise EOFError
        return line

    with open_session(chosen, OpenOptions(threads=1, context=512)) as session:
        Talk(session, Conversation(Question("")), Seen, read_line=read_line).run()
        assert session.plan.method.name == "plain"
    out, err = capsys.readouterr()
    assert err.count("--exactness bitwise is for exact strategies; adadec") == 2
    assert "exactness=bitwise" in out and "adadec, approximate" not in out


def test_a_strategy_goes_on_with_what_it_learned(say: Say, session: Session) -> None:
    before = session._strategy
    say("/strategy plain")
    assert session._strategy is not before
    say("/strategy lookup")
    assert session._strategy is before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/sistem x", "no command /sistem. did you mean /system?"),
        ("/strategy ead", "needs two models"),
        ("/strategy nonsense", "no strategy 'nonsense'"),
        ("/set temp", "not KEY=VALUE"),
        ("/set temp=hot", "temp is 'hot', not a number"),
        ("/set top-p=7", "--top-p 7.0 is not between"),
        ("/set nonsense=1", "lookup has no setting 'nonsense'"),
        ("/set exactness=bitwise", "an option of its own, --exactness"),
        ("/set max-tokens=0", "neither 1 or more"),
        ("/retry", "no answer to try again"),
        ("/save", "the name of a file"),
        ("/save /no/such/folder/x", "cannot be written"),
        ("/save /", "/ is a folder. /save /talk.json"),
        ("/save! /", "/ is a folder"),
        ("/set seed=-2", "nor -1, which is a new one"),
    ],
)
def test_a_command_that_cannot_be_done_says_so_in_one_line(
    say: Say, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    seen = say(line, "still here")
    err = capsys.readouterr().err.rstrip("\n")
    assert words.lower() in err.lower() and "\n" not in err
    assert len(seen.prompts) == 1


def test_a_conversation_is_saved_whole_and_replaces_nothing_unasked(
    say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_json, as_text = tmp_path / "talk.json", tmp_path / "talk.txt"
    as_text.write_text("mine")
    seen = say("/system Hm", "one", f"/save {as_json}", f"/save {as_text}")
    assert "is there already" in capsys.readouterr().err and as_text.read_text() == "mine"
    assert json.loads(as_json.read_text()) == [
        {"role": "system", "content": "Hm"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": seen.answers[0]},
    ]
    say("one", f"/save! {as_text}")
    assert as_text.read_text().startswith("You: one\n\nModel: ")


def test_a_full_context_says_what_can_be_done_and_goes_on(
    say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = say("word " * 300, "hello")
    assert (
        "no longer fits" in (err := capsys.readouterr().err) and "/clear" in err and "-c N" in err
    )
    assert seen.prompts == ["[user]hello[assistant]"]
    say("hello", like=Question("", max_tokens=1000))
    assert "the context is full. /clear" in capsys.readouterr().err


def test_what_changes_a_conversation_is_confirmed_in_a_line(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = (
        "one", "/clear", "/system Be brief.\x1b[2J", f"/system {'long ' * 50}", "/clear", "/system",
        "/set temp=0.5", "/set n=-1", "/set stop-when-lost=off", "/set least=3",
    )  # fmt: skip
    told = [
        "1 question and its answer forgotten",
        "system message: Be brief.␛[2J",
        f"system message: {('long ' * 12)[:59]}…",
        "0 questions and answers forgotten; the system message stays",
        "no system message",
        "temp=0.5",
        "max-tokens=-1",
        "stop-when-lost=off",
        "lookup, exact",
    ]
    for quiet in (False, True):
        lines = iter(typed)
        talk = Talk(
            session, Conversation(Question("", max_tokens=3)), Seen, quiet=quiet,
            read_line=lambda _, lines=lines: next(lines, None) or _ended(),
        )  # fmt: skip
        assert talk.run() == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[0 if quiet else 1 : -1] == ([] if quiet else told) and err == ""


def test_a_name_that_no_file_can_have_ends_no_conversation(
    say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = say(f"/save {'a' * 300}", "/save ~nobody-of-that-name/x", "one")
    assert capsys.readouterr().err.count("cannot be written") == 2
    assert len(seen.answers) == 1


def test_help_names_every_command(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    say("/help")
    out = capsys.readouterr().out
    assert all(form in out and meaning in out for form, meaning in HELP.items())


def test_a_question_may_have_several_lines_and_begin_with_a_slash(say: Say) -> None:
    seen = say('"""/one', 'two"""', " /three", "", "   ")
    assert seen.prompts[0] == "[user]/one\ntwo[assistant]"
    assert seen.prompts[1].endswith("[user]/three[assistant]") and len(seen.prompts) == 2


def test_ctrl_c_at_the_prompt_clears_the_line_and_in_an_answer_keeps_what_is_there(
    session: Session,
) -> None:
    conversation = Conversation(Question("", max_tokens=300))
    typed: list[str | type[BaseException]] = [KeyboardInterrupt, "one", KeyboardInterrupt, EOFError]

    def read_line(_: str) -> str:
        if isinstance(line := typed.pop(0), str):
            return line
        raise line

    class Impatient(Seen):
        def show(self, event: Event) -> None:
            super().show(event)
            if isinstance(event, Step) and event.tokens:
                signal.raise_signal(signal.SIGINT)

    seen = Impatient()
    seen.show = _once(seen.show)  # type: ignore[method-assign]
    assert Talk(session, conversation, lambda: seen, read_line=read_line).run() == 0
    end = next(event for event in seen.events if isinstance(event, End))
    assert end.summary["finish"] == "interrupted"
    assert conversation.exchanges == [("one", seen.answers[0])]


def _once(show: Callable[[Event], None]) -> Callable[[Event], None]:
    """One Ctrl-C only: a second one would leave at once."""
    done: list[bool] = []

    def shown(event: Event) -> None:
        if not done or not isinstance(event, Step):
            show(event)
        if isinstance(event, Step) and event.tokens:
            done.append(True)

    return shown


def test_at_a_terminal_it_talks_until_ctrl_d(chatty: Path) -> None:
    ours, theirs = pty.openpty()
    process = start(
        "run", "-m", chatty, "-t", 1, "-n", 7, "--strategy", "plain",
        stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = read_until(ours, b"> ", 60)
    for line in (b"hello\n", b"/nonsense\n", b"again\n"):
        os.write(ours, line)
        seen += read_until(ours, b"\n", 60)
        seen += read_until(ours, b"> ", 60)
    os.write(ours, b"half a question\x03")
    os.write(ours, b"\x04")
    seen += read_until(ours, b"\0never\0")
    os.close(ours)
    assert process.wait(60) == 0
    text = seen.decode()
    assert text.count("7 tokens") == 2 and "there is no command /nonsense" in text
    assert "Traceback" not in text


def test_like_is_what_all_questions_share() -> None:
    conversation = Conversation(Question("", system="s", max_tokens=9))
    conversation.keep("a", "b")
    conversation.keep("c", " \n")  # not a word
    assert conversation.ask("d") == replace(
        Question("d", system="s", max_tokens=9), earlier=(("a", "b"),), resume=True
    )
