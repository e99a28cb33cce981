"""The only room that knows bpy: objects, materials, lights, camera, Cycles, passes."""
