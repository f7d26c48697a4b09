"""A large model that runs only such forwards as were measured to be bit for bit plain decoding's.

Whatever strategy asks, and whatever it asks for: a longer chain is cut or filled up to a size that
was measured, a tree that was not is run path by path, a prompt is read in the pieces in which plain
decoding reads it. So every row that counts is plain's. A strategy that looks at `at_once` and
`branches` asks for nothing that has to be cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from adec.engines.base import Engine
from adec.engines.exactness.invariance import Invariance
from adec.engines.joined_scores import JoinedScores, Part
from adec.engines.wrapped import WrappedEngine
from adec.errors import EngineError
from adec.signals import Scores
from adec.tree import ROOT, TokenTree

FILLED = 2
"""A forward is filled up to at most so many times its tokens; beyond that it is cut."""
KNOWN = 64
"""Lengths whose sizes are remembered."""


class BitwiseEngine(WrappedEngine):
    """An engine around another one; see `adec.engines.base.Engine` for the contract.

    `plan_within` says what was measured; before that, tokens run one by one. `begin` is called
    before each answer.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._found = Invariance((), (0.0,))
        self._known: dict[tuple[int, bool], list[int]] = {}  # sizes, by length and trees
        self._prompt: tuple[int, ...] = ()
        self._chunk = 1
        self._origin: int | None = None  # where reading the prompt began
        self._ids: list[int] = []  # what the engine holds
        self._waiting: list[int] = []  # of the prompt: read once its piece is complete
        self._tree: TokenTree | None = None  # pending
        self._trunk = 0  # tokens before it
        self._laid: list[int] | None = None  # its nodes that the engine holds; None: as a tree

    def plan_within(self, found: Invariance) -> None:
        """Run what was found to be bit for bit from now on, and nothing else."""
        self._found = found
        self._known.clear()

    def begin(self, prompt: Sequence[int], chunk: int) -> None:
        """A new answer: its prompt, and the tokens of a forward in which plain decoding reads it.

        What the engine holds of the prompt already, it read as plain decoding did.
        """
        self._tree, self._waiting = None, []
        self._engine.rewind(self._engine.length)  # another user may have left a tree
        self._prompt, self._chunk, self._origin = tuple(prompt), chunk, None
        self._ids = list(prompt[: self._engine.common(prompt)])

    @property
    def at_once(self) -> int:
        start = max(self.length, len(self._prompt))
        longest = self._sizes(start)[-1]
        if self.branches > 1:
            longest = min(longest, self._sizes(start, trees=True)[-1])
        # what is missing of the prompt comes first
        return start - self.length + longest

    @property
    def branches(self) -> int:
        return self._engine.branches if self._sizes(self.length, trees=True)[-1] > 1 else 1

    @property
    def length(self) -> int:
        if self._tree is not None:
            return self._trunk
        return self._engine.length + len(self._waiting)

    def common(self, tokens: Sequence[int]) -> int:
        """See `Engine.common`."""
        held = self._engine.length
        same = min(self._engine.common(tokens), self.length)
        return same if same < held else held + _shared(self._waiting, tokens[held:])

    # ---- feeding

    def forward(self, tokens: Sequence[int], *, rows: int = 1) -> Scores:
        """See `Engine.forward`."""
        if self._tree is not None:
            raise EngineError("a tree is pending: keep a path or rewind first")
        engine, start = self._engine, self.length
        if len(tokens) == 1 and rows == 1 and start >= len(self._prompt):
            scores = engine.forward(tokens)
            self._ids += tokens
        else:
            self._check(tokens, rows)
            try:
                scores = self._feed(tokens, rows)
            except BaseException:
                self._cut(start)
                raise
        if not engine.in_order:
            self._read_anew(start)
            scores = self._feed(tokens, rows)
        return scores

    def _feed(self, tokens: Sequence[int], rows: int) -> Scores:
        """Append tokens; scores after the last `rows` of them."""
        engine, end = self._engine, len(self._prompt)
        if self._origin is None:
            self._origin = engine.length
        fed = [*self._waiting, *tokens]
        wanted = len(fed) - rows  # from here on
        parts: list[Part] = []
        at = 0
        while at < len(fed):
            here = engine.length
            if here < end:
                piece = self._chunk - (here - self._origin) % self._chunk
                piece = min(piece, end - here)
                part = fed[at : at + piece]
                parts += self._read_piece(part, min(len(part), at + len(part) - wanted), piece)
            else:
                count, size = self._next_size(here, len(fed) - at)
                part = fed[at : at + count]
                scores = engine.forward([*part, *part[-1:] * (size - count)], rows=size)
                if size > count:
                    engine.rewind(here + count)
                self._ids += part
                parts += [(scores, row) for row in range(count) if at + row >= wanted]
            at += len(part)
        return JoinedScores.of(parts)

    def _read_piece(self, part: list[int], rows: int, piece: int) -> list[Part]:
        """Read a part of the prompt as plain decoding reads it; its last `rows` rows.

        Plain decoding has one row, of the prompt's last token. Others are those of a forward that
        is taken back. A part shorter than `piece` waits for the rest of it.
        """
        engine, start = self._engine, self._engine.length
        complete = len(part) == piece
        last = complete and start + piece == len(self._prompt)
        parts: list[Part] = []
        if rows > int(last):
            scores = engine.forward(part, rows=rows)
            parts = [(scores, row) for row in range(rows)]
            engine.rewind(start)
        self._waiting = [] if complete else part
        if complete:
            scores = engine.forward(part, rows=int(last))
            self._ids += part
            if rows > 0 and last:
                parts = [*parts[:-1], (scores, 0)]
        return parts

    def _sizes(self, start: int, *, trees: bool = False) -> list[int]:
        """Sizes that a forward behind `start` tokens may have, rising; 1 is always among them."""
        if (start, trees) not in self._known:
            sizes = [1]
            for reach in self._found.reaches:
                known = reach.trees if trees else reach.chains
                sizes += [n for n in known if self._found.at(start + n) is reach]
            if len(self._known) > KNOWN:
                self._known.clear()
            self._known[start, trees] = sorted(sizes)
        return self._known[start, trees]

    def _next_size(self, start: int, left: int, *, trees: bool = False) -> tuple[int, int]:
        """How many of `left` tokens to run now, and in a forward of how many."""
        if left == 1:
            return 1, 1
        sizes = self._sizes(start, trees=trees)
        room = min(FILLED * left, self.context - start)
        fitting = next((size for size in sizes if left <= size <= room), None)
        if fitting is not None:
            return left, fitting
        largest = max(size for size in sizes if size <= left)
        return largest, largest

    # ---- trees

    def forward_tree(self, tree: TokenTree, *, first_row: int = 0) -> Scores:
        """See `Engine.forward_tree`."""
        self._check_tree(tree, first_row)
        # a tree that grew has another shape, so it is run as a new one
        self._take_back()
        copy = TokenTree(list(tree.tokens), list(tree.parents), list(tree.probabilities))
        trunk, size = self.length, len(tree)
        try:
            rows = self._run_tree(copy, trunk) or self._run_paths(copy)
        except BaseException:
            self._cut(trunk)
            raise
        self._tree, self._trunk = copy, trunk
        return JoinedScores.of([rows[node] for node in range(first_row, size)])

    def _run_tree(self, tree: TokenTree, trunk: int) -> dict[int, Part]:
        """Every node's row in one forward; nothing where no such forward was measured."""
        engine, size = self._engine, len(tree)
        if tree.is_chain or trunk < len(self._prompt):
            return {}
        count, filled = self._next_size(trunk, size, trees=True)
        if count < size:
            return {}
        whole = tree.below(())
        for _ in range(filled - size):
            whole.add(len(whole) - 1, whole.tokens[-1], 0.0)
        scores = engine.forward_tree(whole)
        if not engine.in_order:
            engine.keep(())
            self._read_anew(trunk)
            scores = engine.forward_tree(whole)
        self._laid = None
        return {node: (scores, node) for node in range(size)}

    def _run_paths(self, tree: TokenTree) -> dict[int, Part]:
        """Every node's row, from the tree's paths one after another."""
        rows: dict[int, Part] = {}
        laid: list[int] = []
        trunk = self.length
        for leaf in tree.leaves():
            path = tree.path(leaf)
            shared = _shared(laid, path)
            self._cut(trunk + shared)
            new = path[shared:]
            scores = self.forward([tree.tokens[node] for node in new], rows=len(new))
            rows |= {node: (scores, row) for row, node in enumerate(new)}
            laid = path
        self._laid = laid
        return rows

    def keep(self, path: Sequence[int]) -> None:
        """See `Engine.keep`."""
        tree, trunk, laid = self._tree, self._trunk, self._laid
        if tree is None:
            raise EngineError("keep without a pending tree")
        try:
            tree.check_path(path)
        except ValueError as error:
            raise EngineError(str(error)) from error
        tokens = [tree.tokens[node] for node in path]
        self._tree = None
        if laid is not None:
            shared = _shared(laid, path)
            self._cut(trunk + shared)
            if tokens[shared:]:
                self.forward(tokens[shared:], rows=0)
            return
        self._engine.keep(path)
        self._ids += tokens
        if not self._engine.in_order:
            self._read_anew(trunk + len(path))

    # ---- back

    def rewind(self, length: int) -> None:
        """See `Engine.rewind`."""
        if not 0 <= length <= self.length:
            raise EngineError(
                f"cannot rewind {self.info.name} from {self.length} tokens to {length}"
            )
        self._take_back()
        self._cut(length)

    def _take_back(self) -> None:
        """Drop a pending tree."""
        if self._tree is None:
            return
        self._tree = None
        if self._laid is None:
            self._engine.keep(())
        else:
            self._cut(self._trunk)

    def _cut(self, length: int) -> None:
        """Cut the sequence. Of a piece of the prompt that is cut in two, the beginning waits."""
        sequence = [*self._ids, *self._waiting][:length]
        held = min(length, self._engine.length)
        if self._origin is not None and self._origin <= held and length < len(self._prompt):
            held -= (held - self._origin) % self._chunk
        self._engine.rewind(held)
        self._waiting = sequence[held:]
        del self._ids[held:]
        if self._origin is not None and held < self._origin:
            self._origin = None

    def _read_anew(self, length: int) -> None:
        """Read the first tokens of the sequence again, so that their cells lie in order."""
        ids = self._ids[:length]
        self._engine.rewind(0)
        self._ids, self._waiting, self._origin = [], [], None
        if ids:
            self._feed(ids, 0)

    # ---- checks

    def _check(self, tokens: Sequence[int], rows: int) -> None:
        if not tokens:
            raise EngineError("a forward needs at least one token")
        if not 0 <= rows <= len(tokens):
            raise EngineError(f"a forward of {len(tokens)} tokens cannot give {rows} rows")
        if not all(0 <= token < self.info.vocabulary for token in tokens):
            raise EngineError(f"a token is not in the vocabulary of {self.info.name}")
        if self.length + len(tokens) > self.context:
            raise EngineError(
                f"the context of {self.info.name} is full: {self.length} tokens and"
                f" {len(tokens)} more, {self.context} at most",
                hint="give a larger --ctx, or a shorter prompt",
            )

    def _check_tree(self, tree: TokenTree, first_row: int) -> None:
        self._check(tree.tokens, len(tree) - first_row)
        if not tree.is_chain:
            if "tree" not in self.capabilities:
                raise EngineError(f"{self.info.name} runs no token trees")
            if not all(ROOT <= above < node for node, above in enumerate(tree.parents)):
                raise EngineError("a tree has a node before its parent")
            if len(tree.leaves()) > self._engine.branches:
                raise EngineError(f"a tree has at most {self._engine.branches} leaves")
        if self._tree is None:
            return
        known, old = len(self._tree), self._tree
        if len(tree) == known or (tree.tokens[:known], tree.parents[:known]) != (
            old.tokens,
            old.parents,
        ):
            raise EngineError("a tree is pending: grow it, keep a path, or rewind first")
        if first_row < known:
            raise EngineError(f"rows of the first {known} nodes were given when these were run")


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Leading elements that both share."""
    most = min(len(one), len(other))
    return next((i for i in range(most) if one[i] != other[i]), most)
