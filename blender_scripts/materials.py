"""Shaders. Colour and regions come as mesh attributes; fine detail is noise in rest coordinates, so it sticks."""

from collections.abc import Callable
from typing import Any, Final

import bpy


class Tree:
    """A few words to write a node tree with."""

    def __init__(self, material: Any) -> None:
        material.use_nodes = True
        self.nodes, self.links = material.node_tree.nodes, material.node_tree.links
        self.nodes.clear()

    def node(self, kind: str, inputs: dict[str | int, Any] | None = None, **properties: Any) -> Any:
        """Add a node; an input is a number, a colour or another node's output."""
        node = self.nodes.new(f"ShaderNode{kind}")
        for name, value in properties.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            if isinstance(value, bpy.types.NodeSocket):
                self.links.new(value, node.inputs[key])
            else:
                node.inputs[key].default_value = value
        return node

    def attribute(self, name: str, output: str = "Color") -> Any:
        """A mesh or curve attribute."""
        return self.node("Attribute", attribute_name=name).outputs[output]

    def math(self, operation: str, a: Any, b: Any) -> Any:
        """A binary operation on numbers."""
        return self.node("Math", {0: a, 1: b}, operation=operation).outputs[0]

    def noise(self, vector: Any, scale: float, detail: float = 2.0) -> Any:
        """Perlin noise around 0.5."""
        return self.node("TexNoise", {"Vector": vector, "Scale": scale, "Detail": detail}).outputs[0]

    def tint(self, colour: Any, factor: Any) -> Any:
        """Colour times a number."""
        return self.node("VectorMath", {0: colour, "Scale": factor}, operation="SCALE").outputs[0]

    def surface(self, shader: Any) -> None:
        """Plug a shader into the output."""
        output = self.node("OutputMaterial")
        self.links.new(shader, output.inputs["Surface"])


def make_material(kind: str, settings: dict[str, float]) -> Any:
    """Build one material."""
    material = bpy.data.materials.new(kind)
    BUILDERS[kind](Tree(material), settings)
    return material


def _skin(tree: Tree, settings: dict[str, float]) -> None:
    rest = tree.attribute("rest", "Vector")
    mottle = tree.math("ADD", tree.math("MULTIPLY", tree.noise(rest, 7.0, 4.0), 0.30), 0.85)
    speck = tree.math("ADD", tree.math("MULTIPLY", tree.noise(rest, 42.0, 3.0), 0.26), 0.87)
    colour = tree.tint(tree.attribute("colour"), tree.math("MULTIPLY", mottle, speck))
    colour = _freckles(tree, rest, colour)
    pores = tree.noise(rest, 95.0, 3.0)
    relief = tree.math("MULTIPLY", pores, 0.5 + 0.6 * settings["wrinkles"])
    stretched = tree.node("VectorMath", {0: rest, 1: (1.2, 16.0, 3.0)}, operation="MULTIPLY").outputs[0]
    lines = tree.node("TexNoise", {"Vector": stretched, "Scale": 1.6, "Detail": 3.0, "Roughness": 0.65}).outputs[0]
    furrows = tree.math("MULTIPLY", lines, tree.math("MULTIPLY", tree.attribute("furrow", "Fac"), 6.0))
    height = tree.math("ADD", relief, furrows)
    bump = tree.node("Bump", {"Height": height, "Strength": 0.6, "Distance": 0.0035 / settings["extent_m"] * 0.3})
    rough = tree.math("ADD", tree.attribute("roughness", "Fac"), tree.math("MULTIPLY", pores, 0.16))
    shader = tree.node(
        "BsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": rough,
            "Specular IOR Level": 0.42,
            "Subsurface Weight": 0.35,
            "Subsurface Radius": (1.0, 0.34, 0.18),
            "Subsurface Scale": 0.0042 / settings["extent_m"],
            "Normal": bump.outputs[0],
        },
        subsurface_method="BURLEY",
    )
    tree.surface(shader.outputs[0])


def _freckles(tree: Tree, rest: Any, colour: Any) -> Any:
    """Small brown spots, of uneven size, where the attribute 'freckle' is above 0."""
    cells = tree.node("TexVoronoi", {"Vector": rest, "Scale": 17.0})
    # A cell has a spot when its random number is below the attribute; the number also sets its size.
    lot = tree.node("SeparateXYZ", {0: cells.outputs["Color"]}).outputs["X"]
    chosen = tree.math("LESS_THAN", lot, tree.math("MULTIPLY", tree.attribute("freckle", "Fac"), 1.2))
    radius = tree.math("ADD", tree.math("MULTIPLY", lot, 0.10), 0.12)
    inside = tree.node("MapRange", {0: cells.outputs["Distance"], 1: tree.math("MULTIPLY", radius, 0.5), 2: radius})
    spot = tree.math("MULTIPLY", tree.math("SUBTRACT", 1.0, inside.outputs[0]), chosen)
    brown = tree.node("VectorMath", {0: colour, 1: (0.62, 0.46, 0.40)}, operation="MULTIPLY").outputs[0]
    return tree.node("MixRGB", {"Fac": spot, "Color1": colour, "Color2": brown}).outputs[0]


def _eye(tree: Tree, settings: dict[str, float]) -> None:
    shader = tree.node(
        "BsdfPrincipled",
        {"Base Color": tree.attribute("colour"), "Roughness": 0.35, "Specular IOR Level": 0.4},
    )
    tree.surface(shader.outputs[0])


def _clear(tree: Tree, settings: dict[str, float]) -> None:
    """The cornea: a mirror by Fresnel over plain transparency; nothing is bent, so it costs no bounce."""
    fresnel = tree.node("Fresnel", {"IOR": settings["ior"]}).outputs[0]
    glossy = tree.node("BsdfGlossy", {"Roughness": settings["roughness"], "Color": (1, 1, 1, 1)}).outputs[0]
    clear = tree.node("BsdfTransparent").outputs[0]
    mix = tree.node("MixShader", {0: fresnel, 1: clear, 2: glossy})
    tree.surface(mix.outputs[0])


def _lens(tree: Tree, settings: dict[str, float]) -> None:
    """Coated glass: a little less light passes. A mirror lobe so weak would show as sparkle at few samples."""
    tree.surface(tree.node("BsdfTransparent", {"Color": (*[settings["tint"]] * 3, 1)}).outputs[0])


def _wet(tree: Tree, settings: dict[str, float]) -> None:
    shader = tree.node(
        "BsdfPrincipled",
        {"Base Color": tree.attribute("colour"), "Roughness": 0.18, "Specular IOR Level": 0.5},
    )
    tree.surface(shader.outputs[0])


def _hair(tree: Tree, settings: dict[str, float]) -> None:
    info = tree.node("HairInfo")
    shade = tree.math("ADD", tree.math("MULTIPLY", info.outputs["Intercept"], 0.45), 0.7)
    vary = tree.math("ADD", tree.math("MULTIPLY", info.outputs["Random"], 0.4), 0.8)
    colour = tree.tint(tree.attribute("colour"), tree.math("MULTIPLY", shade, vary))
    # Light along a strand is a band across the hair, not a dot on each ribbon; the rest is nearly diffuse.
    matte = tree.node("BsdfDiffuse", {"Color": colour, "Roughness": 0.3}).outputs[0]
    rough = settings.get("roughness", 0.42)
    pale = tree.node("MixRGB", {"Fac": 0.45, "Color1": colour, "Color2": (1, 1, 1, 1)}).outputs[0]
    gloss = tree.node(
        "BsdfHair",
        {"Color": pale, "Offset": -0.05, "RoughnessU": 0.8 * rough, "RoughnessV": 1.0},
        component="Reflection",
    ).outputs[0]
    tree.surface(tree.node("MixShader", {0: 0.26, 1: matte, 2: gloss}).outputs[0])


def _cloth(tree: Tree, settings: dict[str, float]) -> None:
    rest = tree.attribute("weave", "Vector")
    grain = tree.noise(rest, 150.0, 2.0)
    melange = tree.noise(rest, 240.0, 3.0)
    depth = tree.math("ADD", tree.math("MULTIPLY", melange, settings["melange"]), 1 - 0.5 * settings["melange"])
    colour = tree.tint(_pattern(tree, rest, settings), depth)
    if settings["rib"] > 0:
        x = tree.node("SeparateXYZ", {0: rest}).outputs["X"]
        wave = tree.math("SINE", tree.math("MULTIPLY", x, settings["rib"]), 0.0)
        height = tree.math("ADD", tree.math("MULTIPLY", wave, 0.5), grain)
    else:
        height = grain
    bump = tree.node("Bump", {"Height": height, "Strength": 0.35, "Distance": 0.0012 / settings["extent_m"]})
    shader = tree.node(
        "BsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": 0.85,
            "Specular IOR Level": 0.2,
            "Sheen Weight": settings["sheen"],
            "Sheen Roughness": 0.4,
            "Normal": bump.outputs[0],
        },
    )
    tree.surface(shader.outputs[0])


def _pattern(tree: Tree, weave: Any, settings: dict[str, float]) -> Any:
    """Stripes (pattern 1) or checks (2) of the accent, along the cloth's coordinates."""
    base = tree.attribute("colour")
    if settings["pattern"] < 0.5:
        return base
    split = tree.node("SeparateXYZ", {0: weave})
    frequency = 6.2832 / settings["period"]
    bands = [tree.math("SINE", tree.math("MULTIPLY", split.outputs[axis], frequency), 0.0) for axis in ("Y", "X")]
    edges = [tree.node("MapRange", {0: band, 1: 0.1, 2: 0.3}).outputs[0] for band in bands]
    if settings["pattern"] < 1.5:
        amount = edges[0]
    else:
        amount = tree.math("MULTIPLY", tree.math("ADD", edges[0], edges[1]), 0.45)
    accent = (settings["accent r"], settings["accent g"], settings["accent b"], 1.0)
    return tree.node("MixRGB", {"Fac": amount, "Color1": base, "Color2": accent}).outputs[0]


def _frame(tree: Tree, settings: dict[str, float]) -> None:
    shader = tree.node(
        "BsdfPrincipled",
        {"Base Color": tree.attribute("colour"), "Roughness": 0.28, "Metallic": settings["metallic"]},
    )
    tree.surface(shader.outputs[0])


def _glow(tree: Tree, settings: dict[str, float]) -> None:
    """Emits its colour: markers that tests look for."""
    tree.surface(tree.node("Emission", {"Color": tree.attribute("colour"), "Strength": 1.0}).outputs[0])


BUILDERS: Final[dict[str, Callable[[Tree, dict[str, float]], None]]] = {
    "skin": _skin,
    "eye": _eye,
    "clear": _clear,
    "lens": _lens,
    "wet": _wet,
    "hair": _hair,
    "cloth": _cloth,
    "frame": _frame,
    "glow": _glow,
}
