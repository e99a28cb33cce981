"""Pictures of planes from cameras of ours."""

import torch

from pipeline.contracts.camera import Camera
from pipeline.contracts.conventions import BACKGROUND
from pipeline.stages.views import intrinsics
from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import Occupancy
from rodin_models.field.rays import Rays, image_rays
from rodin_models.field.render import Image, render_image
from rodin_models.field.splats import SplatView


def picture(planes: torch.Tensor, decoder: Decoder, camera: Camera, occupancy: Occupancy, *, samples: int) -> Image:
    """Planes (3, channel, side, side) as ``camera`` sees them over the background, by ``samples`` a ray where
    ``occupancy`` says that there is matter; on the planes' device.
    """
    return render_image(
        planes,
        decoder,
        torch.from_numpy(camera.matrix()).float().to(planes.device),
        torch.tensor(intrinsics(camera), device=planes.device),
        camera.height,
        camera.width,
        samples=samples,
        occupancy=occupancy,
        background=BACKGROUND,
    )


def rgba(planes: torch.Tensor, decoder: Decoder, camera: Camera, occupancy: Occupancy, *, samples: int) -> torch.Tensor:
    """The same picture as the refiner takes it (4, height, width): colour over white and alpha, each in [0, 1]."""
    image = picture(planes, decoder, camera, occupancy, samples=samples)
    return torch.cat((image.rgb.clamp(0, 1).permute(2, 0, 1), image.alpha[None].clamp(0, 1)))


def splat_view(
    planes: torch.Tensor, decoder: Decoder, camera: Camera, occupancy: Occupancy, *, samples: int
) -> SplatView:
    """The same picture with its camera, as Gaussians are made from it."""
    device = planes.device
    matrix = torch.from_numpy(camera.matrix()).float().to(device)
    shown = picture(planes, decoder, camera, occupancy, samples=samples)
    return SplatView(matrix, torch.tensor(intrinsics(camera), device=device), shown.rgb)


def camera_rays(camera: Camera, device: torch.device) -> Rays:
    """Rays through a camera's pixels, row by row."""
    return image_rays(
        torch.from_numpy(camera.matrix()).float().to(device),
        torch.tensor(intrinsics(camera), device=device),
        camera.height,
        camera.width,
    )
