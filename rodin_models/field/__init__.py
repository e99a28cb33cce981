"""What a radiance field is: planes, decoder, rays, volume rendering, grids, meshes."""
