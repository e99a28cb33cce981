"""Shaders. Colour and regions come as mesh attributes; fine detail is noise in rest coordinates, so it sticks."""

import math
from typing import Any, assert_never

import bpy

from blender_scripts.geometry.material import Clear, Cloth, Eye, Frame, Glow, Hair, Lens, Material, Skin, Wet


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


def make_material(material: Material, extent_m: float) -> Any:
    """Build one material, named after its kind, in a scene whose unit is ``extent_m`` metres."""
    made = bpy.data.materials.new(type(material).__name__.lower())
    tree = Tree(made)
    match material:
        case Skin():
            _skin(tree, material, extent_m)
        case Eye():
            _eye(tree)
        case Clear():
            _clear(tree, material)
        case Lens():
            _lens(tree, material)
        case Wet():
            _wet(tree)
        case Hair():
            _hair(tree, material)
        case Cloth():
            _cloth(tree, material, extent_m)
        case Frame():
            _frame(tree, material)
        case Glow():
            _glow(tree)
        case _:
            assert_never(material)
    return made


def _skin(tree: Tree, skin: Skin, extent_m: float) -> None:
    rest = tree.attribute("rest", "Vector")
    pores = tree.noise(rest, 62.0, 2.0)
    speck = tree.math("ADD", tree.math("MULTIPLY", pores, 0.36), 0.82)
    # 0 on a line, 1 beside it.
    near = tree.math("PINGPONG", tree.attribute("phase", "Fac"), 0.5)
    beside = tree.node("MapRange", {0: near, 1: 0.0, 2: 0.2}, interpolation_type="SMOOTHSTEP").outputs[0]
    line = tree.math("MULTIPLY", tree.math("SUBTRACT", 1.0, beside), tree.attribute("depth", "Fac"))
    dark = tree.math("SUBTRACT", 1.0, tree.math("MULTIPLY", line, 0.32))
    colour = tree.tint(tree.attribute("colour"), tree.math("MULTIPLY", speck, dark))
    colour = _freckles(tree, rest, colour)
    relief = tree.math("MULTIPLY", pores, skin.pores)
    height = tree.math("SUBTRACT", relief, tree.math("MULTIPLY", line, 0.55))
    bump = tree.node("Bump", {"Height": height, "Strength": 1.0, "Distance": 0.0010 / extent_m})
    rough = tree.math("ADD", tree.attribute("roughness", "Fac"), tree.math("MULTIPLY", pores, 0.22))
    shader = tree.node(
        "BsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": rough,
            "Specular IOR Level": 0.45,
            "Subsurface Weight": 0.28,
            "Subsurface Radius": (1.0, 0.34, 0.18),
            "Subsurface Scale": 0.0034 / extent_m,
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


def _eye(tree: Tree) -> None:
    """Matt: what shines is the clear shell in front. A rough lobe here would veil the iris with the lamps' image."""
    tree.surface(tree.node("BsdfDiffuse", {"Color": tree.attribute("colour")}).outputs[0])


def _clear(tree: Tree, clear: Clear) -> None:
    """The cornea: a mirror by Fresnel over plain transparency; nothing is bent, so it costs no bounce."""
    fresnel = tree.node("Fresnel", {"IOR": clear.ior}).outputs[0]
    glossy = tree.node("BsdfGlossy", {"Roughness": clear.roughness, "Color": (1, 1, 1, 1)}).outputs[0]
    through = tree.node("BsdfTransparent").outputs[0]
    mix = tree.node("MixShader", {0: fresnel, 1: through, 2: glossy})
    tree.surface(mix.outputs[0])


def _lens(tree: Tree, lens: Lens) -> None:
    """Coated glass: a little less light passes. A mirror lobe so weak would show as sparkle at few samples."""
    tree.surface(tree.node("BsdfTransparent", {"Color": (*[lens.tint] * 3, 1)}).outputs[0])


def _wet(tree: Tree) -> None:
    shader = tree.node(
        "BsdfPrincipled",
        {"Base Color": tree.attribute("colour"), "Roughness": 0.18, "Specular IOR Level": 0.5},
    )
    tree.surface(shader.outputs[0])


def _hair(tree: Tree, hair: Hair) -> None:
    info = tree.node("HairInfo")
    shade = tree.math("ADD", tree.math("MULTIPLY", info.outputs["Intercept"], 0.45), 0.7)
    vary = tree.math("ADD", tree.math("MULTIPLY", info.outputs["Random"], 0.4), 0.8)
    colour = tree.tint(tree.attribute("colour"), tree.math("MULTIPLY", shade, vary))
    # Light along a strand is a band across the hair, not a dot on each ribbon; the rest is nearly diffuse.
    matte = tree.node("BsdfDiffuse", {"Color": colour, "Roughness": 0.3}).outputs[0]
    pale = tree.node("MixRGB", {"Fac": 0.45, "Color1": colour, "Color2": (1, 1, 1, 1)}).outputs[0]
    gloss = tree.node(
        "BsdfHair",
        {"Color": pale, "Offset": -0.05, "RoughnessU": 0.8 * hair.roughness, "RoughnessV": 1.0},
        component="Reflection",
    ).outputs[0]
    tree.surface(tree.node("MixShader", {0: 0.26, 1: matte, 2: gloss}).outputs[0])


def _cloth(tree: Tree, cloth: Cloth, extent_m: float) -> None:
    """Heights are in metres. Threads run along 'weave'; on sewn cloth along 'sleeve' where that seam is crossed."""
    weave = tree.attribute("weave", "Vector")
    colour = tree.attribute("colour")
    seam: Any = None
    if cloth.sewn:
        to_seam = tree.node("SeparateXYZ", {0: tree.attribute("seams", "Vector")})
        on_sleeve = tree.math("GREATER_THAN", to_seam.outputs["X"], 0.0)
        sleeve = tree.attribute("sleeve", "Vector")
        weave = tree.node("MixRGB", {"Fac": on_sleeve, "Color1": weave, "Color2": sleeve}).outputs[0]
        if cloth.accent_sleeves:
            colour = tree.node("MixRGB", {"Fac": on_sleeve, "Color1": colour, "Color2": _accent(cloth)}).outputs[0]
        away = [tree.math("ABSOLUTE", to_seam.outputs[axis], 0.0) for axis in "XYZ"]
        nearest = tree.math("MINIMUM", tree.math("MINIMUM", away[0], away[1]), away[2])
        seam = tree.node("MapRange", {0: nearest, 1: 0.0030, 2: 0.0004}).outputs[0]
        pucker = tree.node("MapRange", {0: nearest, 1: 0.016, 2: 0.002}).outputs[0]
    grain = tree.noise(weave, 420.0 / cloth.nap, 2.0)
    melange = tree.noise(weave, 240.0, 3.0)
    worn = tree.noise(weave, 11.0, 2.0)
    depth = tree.math("ADD", tree.math("MULTIPLY", melange, cloth.melange), 0.93 - 0.5 * cloth.melange)
    depth = tree.math("ADD", depth, tree.math("MULTIPLY", worn, 0.14))
    height = tree.math("MULTIPLY", grain, 0.0005 * cloth.nap)
    if cloth.rib > 0:
        x = tree.node("SeparateXYZ", {0: weave}).outputs["X"]
        wave = tree.math("SINE", tree.math("MULTIPLY", x, cloth.rib), 0.0)
        height = tree.math("ADD", height, tree.math("MULTIPLY", wave, 0.30 / cloth.rib))
        depth = tree.math("ADD", depth, tree.math("MULTIPLY", wave, 0.05))
    if cloth.sewn:
        crease = tree.math("ABSOLUTE", tree.math("SUBTRACT", tree.noise(weave, 26.0, 2.0), 0.5), 0.0)
        height = tree.math("ADD", height, tree.math("MULTIPLY", crease, -0.009 * (0.4 + 0.6 * cloth.folds)))
        gathered = tree.math("MULTIPLY", tree.noise(weave, 75.0, 0.0), pucker)
        height = tree.math("ADD", height, tree.math("MULTIPLY", gathered, 0.0014))
        height = tree.math("ADD", height, tree.math("MULTIPLY", seam, -0.0009))
        depth = tree.math("MULTIPLY", depth, tree.math("SUBTRACT", 1.0, tree.math("MULTIPLY", seam, 0.18)))
    bump = tree.node("Bump", {"Height": height, "Strength": 1.0, "Distance": 1 / extent_m})
    shader = tree.node(
        "BsdfPrincipled",
        {
            "Base Color": tree.tint(_pattern(tree, colour, weave, cloth), depth),
            "Roughness": 0.85,
            "Specular IOR Level": 0.25,
            "Sheen Weight": cloth.sheen,
            "Sheen Roughness": 0.5,
            "Normal": bump.outputs[0],
        },
    )
    tree.surface(shader.outputs[0])


def _accent(cloth: Cloth) -> tuple[float, float, float, float]:
    return (*cloth.accent, 1.0)


def _pattern(tree: Tree, base: Any, weave: Any, cloth: Cloth) -> Any:
    """Stripes or checks of the accent, along the cloth's threads; it takes a share of each period."""
    if cloth.pattern == "plain":
        return base
    split = tree.node("SeparateXYZ", {0: weave})
    frequency = 2 * math.pi / cloth.period_m
    edge = math.cos(math.pi * cloth.share)
    bands = []
    for axis in ("Y", "X"):
        wave = tree.math("COSINE", tree.math("MULTIPLY", split.outputs[axis], frequency), 0.0)
        bands.append(tree.node("MapRange", {0: wave, 1: edge - 0.1, 2: edge + 0.1}).outputs[0])
    if cloth.pattern == "stripes":
        amount = bands[0]
    else:
        amount = tree.math("MULTIPLY", tree.math("ADD", bands[0], bands[1]), 0.45)
    return tree.node("MixRGB", {"Fac": amount, "Color1": base, "Color2": _accent(cloth)}).outputs[0]


def _frame(tree: Tree, frame: Frame) -> None:
    shader = tree.node(
        "BsdfPrincipled",
        {"Base Color": tree.attribute("colour"), "Roughness": 0.28, "Metallic": frame.metallic},
    )
    tree.surface(shader.outputs[0])


def _glow(tree: Tree) -> None:
    """Emits its colour: markers that tests look for."""
    tree.surface(tree.node("Emission", {"Color": tree.attribute("colour"), "Strength": 1.0}).outputs[0])
