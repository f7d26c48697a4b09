"""Two models, or one and its own text: trust the small one (EAD), or draft and verify.

Read first, besides `decoding/answer.py`:

    ead            the rule by which models change hands, and its loop
    block_wakes    the same by the clock: the large model waits until a block is full
    draft_verify   the round of drafting: propose, verify, accept, settle, learn
    draft_chooser  what decides who drafts in a round, and how far
    accept         what stands of a draft

Every other module is a recipe, a published method made of that loop, which `wiring` puts together.
Optional reading: `drafters` (who writes ahead) and `clock` (which of them pays, and how far).
"""
