"""How each attribute is distributed over specs, beside what ``PopulationConfig`` states."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.contracts.appearance import GARMENT_COLOURS
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.attributes import ADULT, BEARDED, OUTER, TIGHT_CURL, near_skin
from pipeline.people.population import PopulationConfig

BALD: Final = ("bald", "balding")
NOBODYS_SKIN: Final = tuple(
    name for name, colour in GARMENT_COLOURS.items() if not any(near_skin(colour, step / 50) for step in range(51))
)
"""Colours of cloth that are near no skin."""
JERSEY: Final = ("tee", "v-neck", "tank", "polo", "turtleneck", "jumper")


@dataclass(frozen=True)
class Attribute:
    """One line of the table: of whom, what, and with which stated chances."""

    name: str
    group: Callable[[AvatarSpec], bool]
    value: Callable[[AvatarSpec], str]
    stated: Callable[[PopulationConfig], dict[str, float]]


@dataclass(frozen=True)
class Distribution:
    """One attribute over specs: how often each value was drawn, and how often it should be."""

    name: str
    counts: dict[str, int]
    stated: dict[str, float]

    @property
    def total(self) -> int:
        """Specs in the attribute's group."""
        return sum(self.counts.values())


def attribute_distributions(specs: Sequence[AvatarSpec], population: PopulationConfig) -> tuple[Distribution, ...]:
    """All attributes, values in the order in which they are stated; unstated ones (of fixed specs) come last."""
    found = []
    for attribute in ATTRIBUTES:
        counter = Counter(attribute.value(spec) for spec in specs if attribute.group(spec))
        stated = {name: share for name, share in attribute.stated(population).items() if share > 0 or counter[name]}
        names = [*stated, *sorted(set(counter) - set(stated))]
        found.append(Distribution(attribute.name, {name: counter[name] for name in names}, stated))
    return tuple(found)


def attribute_bars(distributions: Sequence[Distribution], width: int = 30) -> list[str]:
    """Lines of text: a bar of what was drawn, and ``|`` where the stated share ends."""
    lines = []
    for distribution in distributions:
        lines.append(f"{distribution.name} ({distribution.total})")
        for name, count in distribution.counts.items():
            share, stated = count / max(distribution.total, 1), distribution.stated.get(name, 0.0)
            bar = list(("#" * round(share * width)).ljust(width))
            bar[min(round(stated * width), width - 1)] = "|"
            lines.append(f"  {name:<18} {''.join(bar)} {100 * share:5.1f} %  stated {100 * stated:5.1f} %")
    return lines


def _male(spec: AvatarSpec) -> bool:
    return spec.gender >= 0.5


def _everyone(spec: AvatarSpec) -> bool:
    return True


def _age_group(spec: AvatarSpec) -> str:
    years = spec.age_years
    return "child" if years < ADULT else "young" if years < 35 else "middle" if years < 60 else "old"


def _ancestry(spec: AvatarSpec) -> str:
    return ("african", "asian", "caucasian")[max(range(3), key=lambda k: spec.ancestry[k])]


def _yes(test: Callable[[AvatarSpec], bool]) -> Callable[[AvatarSpec], str]:
    return lambda spec: "yes" if test(spec) else "no"


def _chance(probability: Callable[[PopulationConfig], float]) -> Callable[[PopulationConfig], dict[str, float]]:
    return lambda population: {"yes": probability(population), "no": 1 - probability(population)}


def _hairy(male: bool, tight: bool, child: bool | None = None) -> Callable[[AvatarSpec], bool]:
    return lambda spec: (
        _male(spec) == male
        and spec.hair.style not in BALD
        and (spec.hair.curl > TIGHT_CURL) == tight
        and child in (None, spec.age_years < ADULT)
    )


def _hair(spec: AvatarSpec) -> str:
    return spec.hair.style


def _is_bald(spec: AvatarSpec) -> bool:
    return spec.hair.style in BALD


def _pattern(spec: AvatarSpec) -> str:
    return spec.garment.pattern


def _sewn_of(styles: tuple[str, ...]) -> Callable[[AvatarSpec], bool]:
    return lambda spec: spec.garment.style in styles


def _safe_colours(population: PopulationConfig) -> dict[str, float]:
    stated = {n: weight for n, weight in population.garment_colours.chances().items() if n in NOBODYS_SKIN}
    return {name: weight / max(sum(stated.values()), 1e-9) for name, weight in stated.items()}


ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute("age", _everyone, _age_group, lambda p: p.ages.chances()),
    Attribute("female", _everyone, _yes(lambda s: not _male(s)), _chance(lambda p: p.female)),
    Attribute("ancestry", _everyone, _ancestry, lambda p: p.ancestries.chances()),
    Attribute(
        "bald, men of 18 to 40",
        lambda s: _male(s) and BEARDED <= s.age_years <= 40,
        _yes(_is_bald),
        _chance(lambda p: p.bald_young),
    ),
    Attribute(
        "bald, men over 40", lambda s: _male(s) and s.age_years > 40, _yes(_is_bald), _chance(lambda p: p.bald_old)
    ),
    Attribute("bald style", _is_bald, _hair, lambda p: p.bald_styles.chances()),
    Attribute("hair, men", _hairy(True, False, False), _hair, lambda p: p.hair_men.chances()),
    Attribute("hair, women", _hairy(False, False, False), _hair, lambda p: p.hair_women.chances()),
    Attribute("hair, boys", _hairy(True, False, True), _hair, lambda p: p.hair_boys.chances()),
    Attribute("hair, girls", _hairy(False, False, True), _hair, lambda p: p.hair_girls.chances()),
    Attribute("tight hair, male", _hairy(True, True), _hair, lambda p: p.hair_tight_men.chances()),
    Attribute("tight hair, female", _hairy(False, True), _hair, lambda p: p.hair_tight_women.chances()),
    Attribute(
        "facial hair, men",
        lambda s: _male(s) and s.age_years >= BEARDED,
        _yes(lambda s: s.facial_hair.style != "none"),
        _chance(lambda p: p.facial_hair),
    ),
    Attribute(
        "facial hair style",
        lambda s: s.facial_hair.style != "none",
        lambda s: s.facial_hair.style,
        lambda p: p.facial_hair_styles.chances(),
    ),
    Attribute("glasses", _everyone, _yes(lambda s: s.glasses is not None), _chance(lambda p: p.glasses)),
    Attribute(
        "glasses shape",
        lambda s: s.glasses is not None,
        lambda s: s.glasses.shape if s.glasses else "",
        lambda p: p.glasses_shapes.chances(),
    ),
    Attribute("hat", _everyone, _yes(lambda s: s.hat is not None), _chance(lambda p: p.hat)),
    Attribute(
        "hat style", lambda s: s.hat is not None, lambda s: s.hat.style if s.hat else "", lambda p: p.hats.chances()
    ),
    Attribute("earrings, male", _male, _yes(lambda s: s.earrings is not None), _chance(lambda p: p.earrings_men)),
    Attribute(
        "earrings, female",
        lambda s: not _male(s),
        _yes(lambda s: s.earrings is not None),
        _chance(lambda p: p.earrings_women),
    ),
    Attribute(
        "earring style",
        lambda s: s.earrings is not None,
        lambda s: s.earrings.style if s.earrings else "",
        lambda p: p.earring_styles.chances(),
    ),
    Attribute(
        "make-up, women",
        lambda s: not _male(s) and s.age_years >= ADULT,
        _yes(lambda s: s.makeup is not None),
        _chance(lambda p: p.makeup),
    ),
    Attribute("garment", _everyone, lambda s: s.garment.style, lambda p: p.garments.chances()),
    # Colours near some skins are rarer than stated; among the others the shares are those stated.
    Attribute(
        "garment colour",
        lambda s: s.garment.colour_name in NOBODYS_SKIN,
        lambda s: s.garment.colour_name,
        _safe_colours,
    ),
    Attribute("pattern, jersey", _sewn_of(JERSEY), _pattern, lambda p: p.patterns_jersey.chances()),
    Attribute("pattern, shirts", _sewn_of(("shirt",)), _pattern, lambda p: p.patterns_shirt.chances()),
    Attribute("pattern, hoodies and jackets", _sewn_of(OUTER), _pattern, lambda p: p.patterns_outer.chances()),
    Attribute("neutral", _everyone, _yes(lambda s: s.expression == "neutral"), _chance(lambda p: p.neutral)),
    Attribute(
        "expression",
        lambda s: s.expression != "neutral",
        lambda s: s.expression,
        lambda p: p.expressions.chances(),
    ),
    Attribute("light", _everyone, lambda s: s.light.rig, lambda p: p.lights.chances()),
)
