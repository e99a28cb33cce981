// A field's bytes taken apart: pipeline/report/web/field.py puts them together.

/** What a script element with base64 text holds, as bytes, gunzipped. */
async function unpackedBytes(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; ++i) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A field as the renderer takes it: float blocks, cells' densities, planes as four channels a texel and layer. */
function takenApart(head, bytes) {
  const floats = new DataView(bytes.buffer, bytes.byteOffset);
  let at = 0;
  const nextFloats = (count) => {
    const values = new Float32Array(count);
    for (let i = 0; i < count; ++i) values[i] = floats.getFloat32(at + 4 * i, true);
    at += 4 * count;
    return values;
  };
  const nextLevels = (count) => {
    const levels = new Uint8Array(count);
    let sum = 0;
    for (let i = 0; i < count; ++i) levels[i] = sum = (sum + bytes[at + i]) & 255;
    at += count;
    return levels;
  };
  const blocks = {};
  for (const [name, size] of Object.entries(head.blocks)) blocks[name] = nextFloats(size);
  const scale = nextFloats(3 * head.channels);
  const offset = nextFloats(3 * head.channels);
  const cells = densities(head, nextLevels(head.cells ** 3));
  const planes = nextLevels(3 * head.channels * head.side ** 2);
  if (at !== bytes.length) throw new Error(`the avatar's data has ${bytes.length} bytes instead of ${at}`);
  return { head, blocks, cells, ...inFours(head, scale, offset, planes) };
}

/** Equation (2) of field.py; the axis x, which runs slowest there, is a texture's first. */
function densities(head, levels) {
  const table = new Float32Array(256);
  table[0] = -1;
  for (let level = 2; level < 256; ++level) {
    table[level] = head.densest * (head.densest / head.thinnest) ** ((level - 255) / 253);
  }
  const side = head.cells;
  const cells = new Float32Array(side ** 3);
  let from = 0;
  for (let x = 0; x < side; ++x)
    for (let y = 0; y < side; ++y)
      for (let z = 0; z < side; ++z) cells[(z * side + y) * side + x] = table[levels[from++]];
  return cells;
}

/** Channels in groups of four, padded with zeros: one layer a group, and scale and offset as the shader adds them up. */
function inFours(head, scale, offset, planes) {
  const groups = head.decoder.channels;
  const texels = head.side ** 2;
  const layers = new Uint8Array(3 * groups * texels * 4);
  const scales = new Float32Array(3 * groups * 4);
  const offsets = new Float32Array(groups * 4);
  for (let plane = 0; plane < 3; ++plane) {
    for (let channel = 0; channel < head.channels; ++channel) {
      const from = plane * head.channels + channel;
      const layer = plane * groups + (channel >> 2);
      scales[4 * layer + (channel & 3)] = 255 * scale[from];
      offsets[channel] += offset[from];
      let to = layer * texels * 4 + (channel & 3);
      for (let texel = from * texels; texel < (from + 1) * texels; ++texel, to += 4) layers[to] = planes[texel];
    }
  }
  return { layers, scales, offsets };
}
