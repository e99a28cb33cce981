"""How planes are fitted: every number that a fit is given, of one avatar, of several, or of a decoder with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """How planes are fitted. Channels are the decoder's."""

    resolution: int = 96
    """Texels along each side of a plane."""
    steps: int = 300
    """Steps an avatar."""
    rays: int = 1024
    """Rays a step."""
    samples: int = 8
    """Samples a ray, all inside occupied cells."""
    supersample: int = 1
    """Rays along each side of a pixel, whose mean is its colour; a step then sees as many fewer pixels. In fits of one
    avatar at a time only."""
    supersample_from: float = 0.5
    """Share of the steps after which they are so many: before it one through the centre says enough."""
    learning_rate: float = 0.02
    """Adam's, for the planes."""
    decoder_learning_rate: float = 0.002
    """AdamW's, for the decoder in the joint fit."""
    learning_rate_end: float = 0.01
    """Share of both learning rates left at the last step (cosine)."""
    decoder_weight_decay: float = 0.01
    """AdamW's."""
    alpha_weight: float = 0.1
    """Weight of the opacity's squared error."""
    tv_weight: float = 0.3
    """Weight of :func:`rodin_models.field.triplane.smoothness`."""
    sparse_weight: float = 1e-4
    """Weight of :func:`rodin_models.field.triplane.sparsity`."""
    compact_weight: float = 0.3
    """Weight of :func:`rodin_models.field.triplane.compactness`."""
    regularise_every: int = 4
    """Steps between two of the planes' regularisers, which then weigh as many times more."""
    empty_points: int = 1024
    """Random points a step for compactness."""
    perceptual_weight: float = 0.0
    """Weight of a random patch's perceptual distance; at 0 no patch is rendered."""
    perceptual_every: int = 4
    """Steps between two patches, which then weigh as many times more."""
    perceptual_patch: int = 32
    """Side of the patches in pixels."""
    plane_noise: float = 0.01
    """Standard deviation of the noise on sampled features."""
    rescale_probability: float = 0.1
    """Share of the steps that see the planes through a random coarser side."""
    rescale_smallest: float = 0.5
    """The coarsest such side, as a share of the resolution."""
    coarse: tuple[tuple[float, int], ...] = ((0.2, 4), (0.6, 2))
    """(Until which share of the steps, how many times fewer texels a side): planes grow from coarse to fine."""
    limit: float = 1.0
    """Planes are held within [-limit, limit]."""
    hull_resolution: int = 128
    """Cells a side of the hull and of the coarse density."""
    shell_cells: int = 1
    """With depth: cells on both sides of those with a surface in which samples may lie."""
    density_decay: float = 0.95
    """What a step leaves of the coarse density that guides samples, where it saw nothing denser."""
    visit_steps: int = 25
    """Steps of one visit in the joint fit: avatars are visited often and shortly."""
