"""Section ``text``: whether what a sentence names comes out, and whether an edit changes that and nothing else.

Judged by a classifier of attributes (:mod:`pipeline.evaluation.attributes`), whose accuracy on photographs of held-out
people is the most that can be seen of any avatar.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Row, Table
from pipeline.evaluation.attributes import EPOCHS, AttributeJudge, attribute_judge
from pipeline.evaluation.figures import mean, paired
from pipeline.evaluation.found import Found
from pipeline.evaluation.sheet import published_sheet
from pipeline.evaluation.subject import Subject, Tally
from pipeline.people.caption import captions_of
from pipeline.people.seen import ATTRIBUTES, NONE, attributes_of
from pipeline.people.seen import named_in_captions as named_in
from rodin_models.image.clip import encode_texts

SHOWN: Final = 16
HAIR: Final = ("hair colour", "hair style")


class Edit(NamedTuple):
    """Words, what they change to what, and what may change with it."""

    words: str
    attribute: str
    wanted: str
    with_it: tuple[str, ...] = ()


EDITS: Final = (
    Edit("with glasses", "glasses", "glasses"),
    Edit("with grey hair", "hair colour", "grey", ("age",)),
    Edit("wearing a red tee shirt", "garment colour", "red"),
    Edit("with a full beard", "beard", "beard"),
    Edit("with blond hair", "hair colour", "blond"),
    Edit("wearing a white shirt", "garment colour", "white"),
    Edit("with black hair", "hair colour", "black"),
    Edit("wearing a blue beanie", "hat", "beanie", HAIR),
    Edit("with long straight brown hair", "hair style", "long straight", ("hair colour", "hat")),
    Edit("wearing a green jumper", "garment colour", "green"),
    Edit("without glasses", "glasses", NONE),
    Edit("without a beard", "beard", NONE),
)


FEWEST: Final = 5
"""Training people who must show what an edit asks for: a classifier that has seen fewer cannot say that it came."""


def edits_for(spec: AvatarSpec, edits: Sequence[Edit] = EDITS) -> list[Edit]:
    """Those that would change something that is seen of a person."""
    seen = attributes_of(spec)
    return [edit for edit in edits if seen.get(edit.attribute, edit.wanted) != edit.wanted]


def judged_edits(training: Iterable[AvatarSpec]) -> list[Edit]:
    """Those whose outcome a classifier can know that learned from these people; all where it can know none."""
    shown = Counter(answer for spec in training for answer in attributes_of(spec).items())
    return [edit for edit in EDITS if shown[edit.attribute, edit.wanted] >= FEWEST] or list(EDITS)


def measure_text(subject: Subject) -> Found:
    """Measure; writes ``text.png`` and ``edits.png``."""
    people = subject.held_out
    # As many sentences as avatars from noise, four a person at most, and half as many edits.
    sentences, edits = min(subject.samples, 4 * len(people)), -(-subject.samples // 2)
    tally = Tally(subject.progress, EPOCHS + sentences + 2 * edits)
    judge = attribute_judge(subject, tally)
    read = judge.read(torch.stack([subject.renders(avatar)[0] for avatar in people]))
    accuracy = _accuracy(subject, read)
    said, told, bar_text, shown_text = _sentences(subject, judge, read, sentences, tally)
    specs = subject.run.specs()
    judged = judged_edits(specs[avatar] for avatar in subject.training)
    edited, bars_edit, shown_edits = _edits(subject, judge, judged, edits, tally)
    left_out = ", ".join(edit.words for edit in EDITS if edit not in judged)
    return Found(
        title="Text and edits",
        notes=(
            f"A small convolutional network trained on the photographs of {len(subject.training)} training people by "
            "their specifications, on no feature of our CLIP, says what is seen in frontal pictures.",
            f"{sentences} sentences are captions of held-out people; {edits} edits are of their portraits, judged "
            "against the avatar of the same noise without the edit."
            + (f" Shown by fewer than {FEWEST} training people, and left out: {left_out}." if left_out else ""),
        ),
        tables=(accuracy, Table(title="What sentences name", rows=(*said, told)), edited),
        bars=(bar_text, *bars_edit),
        pictures=(shown_text, shown_edits),
    )


def _accuracy(subject: Subject, read: list[dict[str, str]]) -> Table:
    """How often the classifier is right on photographs of held-out people, beside the commonest answer."""
    specs = subject.run.specs()
    rows = []
    for name in ATTRIBUTES:
        truths = [attributes_of(specs[avatar]).get(name) for avatar in subject.held_out]
        right = [float(seen[name] == truth) for seen, truth in zip(read, truths, strict=True) if truth is not None]
        known = [truth for truth in truths if truth is not None]
        chance = [float(truth == max(sorted(set(known)), key=known.count)) for truth in known]
        rows.append(
            Row(
                name=name,
                figures=(
                    mean("accuracy", right, subject.generator(0, f"accuracy {name}"), digits=3),
                    mean("commonest answer", chance, subject.generator(0, f"commonest {name}"), digits=3),
                ),
            )
        )
    return Table(title="The classifier on photographs of held-out people", rows=tuple(rows))


def _sentences(
    subject: Subject, judge: AttributeJudge, read: list[dict[str, str]], count: int, tally: Tally
) -> tuple[list[Row], Row, Bar, Picture]:
    """Rows by attribute, the row of all, the bar, and a picture."""
    people, specs = subject.held_out, subject.run.specs()
    rows = [number % len(people) for number in range(count)]
    texts = [captions_of(specs[people[row]])[number // len(people) % 4] for number, row in enumerate(rows)]
    encoded = encode_texts(subject.sampler.clip, subject.sampler.tokenizer, texts)
    latents = torch.cat(
        [
            subject.sampler.latents(1, encoded[i : i + 1], subject.generator(i, "text latents")).cpu()
            for i in range(count)
        ]
    )
    front = (subject.frontal_camera(),)
    made = subject.samples_of("text", latents, lambda row: front, tally)
    fronts = torch.stack([refined[0] for _, refined in made])
    found = judge.read(fronts)
    # By person and attribute: (right in the avatars, right in the photograph, named), each summed over sentences.
    counts = {name: torch.zeros(3, len(people), dtype=torch.float64) for name in ATTRIBUTES}
    for seen, row in zip(found, rows, strict=True):
        for name, word in named_in(specs[people[row]]).items():
            counts[name][:, row] += torch.tensor([seen[name] == word, read[row][name] == word, 1], dtype=torch.float64)

    def measured(name: str, of: Tensor) -> Row:
        of = of[:, of[2] > 0]
        generator = subject.generator(0, f"text {name}")
        return Row(
            name=name,
            figures=(
                paired("comes out", (of[0], of[2]), lambda right, all_: right / all_, generator, digits=3),
                paired("seen in photographs", (of[1], of[2]), lambda right, all_: right / all_, generator, digits=3),
                paired("over photographs", (of[0], of[1]), lambda right, known: right / known, generator, digits=3),
            ),
        )

    each = [measured(name, of) for name, of in counts.items() if float(of[2].sum())]
    whole = measured("all that is named", torch.stack(list(counts.values())).sum(0))
    bar = Bar(
        text="Attributes that sentences name and that come out, over those seen in photographs of these people",
        figure=whole.figures[2],
        bound=0.9,
        at_least=True,
    )
    return each, whole, bar, _sheet(subject, "text", fronts, texts, "Avatars from captions of held-out people")


def _edits(
    subject: Subject, judge: AttributeJudge, judged: list[Edit], count: int, tally: Tally
) -> tuple[Table, tuple[Bar, Bar], Picture]:
    """The table, the bars, and a picture of pairs."""
    sampler, people = subject.sampler, subject.held_out
    specs = subject.run.specs()
    asked = [edits_for(specs[avatar], judged) for avatar in people]
    turns = [(i % len(people), i + i // len(people)) for i in range(count)]
    chosen = [(people[row], asked[row][turn % len(asked[row])]) for row, turn in turns]
    before = subject.latents([avatar for avatar, _ in chosen]).to(sampler.device)
    after = torch.cat([sampler.edited(before[i : i + 1], edit.words) for i, (_, edit) in enumerate(chosen)])
    front = (subject.frontal_camera(),)
    pictures = []
    for name, latents in (("edit-before", before), ("edit-after", after)):

        def fitted(rows: Tensor, name: str = name) -> Tensor | None:
            avatars = [chosen[row][0] for row in rows]
            if name == "edit-before":
                return subject.fitted_to(avatars)
            faces = [subject.face(avatar) for avatar in avatars]
            first = int(rows[0])
            return sampler.fitted_edited(
                before[rows], after[rows], faces, lambda: subject.generator(first, "edited pictures")
            )

        made = subject.samples_of(name, latents.cpu(), lambda row: front, tally, noise="edit", fitted=fitted)
        pictures.append(torch.stack([refined[0] for _, refined in made]))
    seen = [judge.read(of) for of in pictures]
    changed: dict[int, list[float]] = {}
    stayed: dict[int, list[float]] = {}
    by_words: dict[str, tuple[list[float], list[float]]] = {edit.words: ([], []) for edit in judged}
    for (avatar, edit), old, new in zip(chosen, *seen, strict=True):
        others = [name for name in ATTRIBUTES if name != edit.attribute and name not in edit.with_it]
        done, kept = float(new[edit.attribute] == edit.wanted), sum(old[n] == new[n] for n in others) / len(others)
        for group, value in ((changed, done), (stayed, kept)):
            group.setdefault(avatar, []).append(value)
        by_words[edit.words][0].append(done)
        by_words[edit.words][1].append(kept)
    rows = [
        Row(
            name=words,
            figures=(
                mean("changed", done, subject.generator(0, f"edit {words}"), digits=3),
                mean("others stayed", kept, subject.generator(0, f"stay {words}"), digits=3),
            ),
        )
        for words, (done, kept) in by_words.items()
    ]
    whole = Row(
        name="all edits",
        figures=tuple(
            paired(
                title,
                ([sum(values) for values in group.values()], [len(values) for values in group.values()]),
                lambda total, count: total / count,
                subject.generator(0, title),
                digits=3,
            )
            for title, group in (("changed", changed), ("others stayed", stayed))
        ),
    )
    bars = (
        Bar(text="Edits that change what they should", figure=whole.figures[0], bound=0.8, at_least=True),
        Bar(text="Other attributes that stay under an edit", figure=whole.figures[1], bound=0.9, at_least=True),
    )
    pairs = torch.cat(pictures, 3)
    shown = _sheet(subject, "edits", pairs, [e.words for _, e in chosen], "Portraits' avatars without and with an edit")
    return Table(title="Edits", rows=(*rows, whole)), bars, shown


def _sheet(subject: Subject, name: str, pictures: Tensor, labels: list[str], caption: str) -> Picture:
    tile = max(256, pictures.shape[-1])
    return published_sheet(
        subject, name, pictures[:SHOWN], columns=4, tile=tile, labels=labels[:SHOWN], caption=caption
    )
