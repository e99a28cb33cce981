// A field drawn with WebGL2, into textures of any size, as a whole or row by row, and shown on the canvas.

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;

const SPARE = 3;                   // pictures that are kept to be drawn into again

/** What a browser lacks, in words for the person in front of it. */
class Unsupported extends Error {}

class Renderer {
  constructor(canvas, sources) {
    const asked = { alpha: true, antialias: false, depth: false, premultipliedAlpha: true, powerPreference: "high-performance" };
    this.gl = canvas.getContext("webgl2", asked);
    if (!this.gl) throw new Unsupported("This browser has no WebGL2");
    this.canvas = canvas;
    this.sources = sources;
    this.spare = [];
    this.made = [];
    this.gl.bindVertexArray(this.gl.createVertexArray());
    this.blit = this.program(sources.blit, "");
  }

  /** Take a field in place of the one before. */
  load(field) {
    const gl = this.gl;
    for (const free of this.made.splice(0)) free();
    this.head = field.head;
    const shape = field.head.decoder;
    const defines = Object.entries({
      C4: shape.channels, H4: shape.hidden, K4: shape.colour_hidden,
      OCTAVES: shape.octaves, DIRECTION_OCTAVES: shape.direction_octaves,
    });
    this.program3d = this.program(this.sources.field, defines.map(([name, value]) => `#define ${name} ${value}\n`).join(""));
    this.made.push(() => gl.deleteProgram(this.program3d));
    gl.useProgram(this.program3d);
    Object.entries(field.blocks).forEach(([name, floats], place) => this.block(name, floats, place));
    this.texture(0, "uPlanes", gl.TEXTURE_2D_ARRAY, gl.LINEAR, () =>
      gl.texImage3D(gl.TEXTURE_2D_ARRAY, 0, gl.RGBA8, field.head.side, field.head.side, 3 * shape.channels, 0, gl.RGBA, gl.UNSIGNED_BYTE, field.layers));
    const cells = field.head.cells;
    this.texture(1, "uCells", gl.TEXTURE_3D, gl.NEAREST, () =>
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R32F, cells, cells, cells, 0, gl.RED, gl.FLOAT, field.cells));
    gl.uniform1i(this.at("uCellsASide"), cells);
    gl.uniform1i(this.at("uPieces"), field.head.pieces);
    gl.uniform3fv(this.at("uLow"), field.head.low);
    gl.uniform3fv(this.at("uHigh"), field.head.high);
    gl.uniform4fv(this.at("uScale"), field.scales);
    gl.uniform4fv(this.at("uOffset"), field.offsets);
  }

  /** Draw rows of a picture as a camera sees them: ``{cam2world, pinhole, width, height}``, a matrix row by row. */
  draw(picture, camera, samples, firstRow = 0, rows = picture.height) {
    const gl = this.gl;
    gl.useProgram(this.program3d);
    gl.bindFramebuffer(gl.FRAMEBUFFER, picture.framebuffer);
    gl.viewport(0, 0, picture.width, picture.height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, firstRow, picture.width, rows);
    gl.uniformMatrix4fv(this.at("uCam2world"), true, camera.cam2world);
    gl.uniform4fv(this.at("uPinhole"), camera.pinhole);
    gl.uniform1i(this.at("uSamples"), samples);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
  }

  /** Show a picture over a background, [red, green, blue, alpha] in 0 to 1, on the whole canvas. */
  show(picture, background) {
    const gl = this.gl;
    gl.useProgram(this.blit);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, picture.texture);
    gl.uniform1i(gl.getUniformLocation(this.blit, "uPicture"), 2);
    gl.uniform2f(gl.getUniformLocation(this.blit, "uCanvas"), this.canvas.width, this.canvas.height);
    gl.uniform4fv(gl.getUniformLocation(this.blit, "uBackground"), background);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** An empty picture, or one with what another shows, enlarged. */
  picture(width, height, like = null) {
    const gl = this.gl;
    const place = this.spare.findIndex((picture) => picture.width === width && picture.height === height);
    const picture = place < 0 ? this.newPicture(width, height) : this.spare.splice(place, 1)[0];
    if (like) {
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, like.framebuffer);
      gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, picture.framebuffer);
      gl.blitFramebuffer(0, 0, like.width, like.height, 0, 0, width, height, gl.COLOR_BUFFER_BIT, gl.LINEAR);
    }
    return picture;
  }

  newPicture(width, height) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
    const framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    return { texture, framebuffer, width, height };
  }

  /** Nobody needs a picture any more: it is used again, or its memory given back. */
  forget(picture) {
    this.spare.push(picture);
    if (this.spare.length <= SPARE) return;
    const oldest = this.spare.shift();
    this.gl.deleteFramebuffer(oldest.framebuffer);
    this.gl.deleteTexture(oldest.texture);
  }

  /** A picture's pixels, four bytes each, premultiplied by alpha, row by row from above. */
  pixels(picture) {
    const gl = this.gl;
    const bytes = new Uint8Array(picture.width * picture.height * 4);
    gl.bindFramebuffer(gl.FRAMEBUFFER, picture.framebuffer);
    gl.readPixels(0, 0, picture.width, picture.height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    return bytes;
  }

  /** Something to ask with :func:`finished` whether all that was asked for so far is drawn. */
  mark() {
    const sync = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.gl.flush();
    return sync;
  }

  finished(sync) {
    const state = this.gl.clientWaitSync(sync, 0, 0);
    if (state === this.gl.TIMEOUT_EXPIRED) return false;
    this.gl.deleteSync(sync);
    return true;
  }

  at(name) {
    return this.gl.getUniformLocation(this.program3d, name);
  }

  block(name, floats, place) {
    const gl = this.gl;
    const most = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE);
    if (floats.byteLength > most) throw new Unsupported(`This graphics card takes blocks of ${most} bytes, the decoder has one of ${floats.byteLength}`);
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.UNIFORM_BUFFER, buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, floats, gl.STATIC_DRAW);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, place, buffer);
    const index = gl.getUniformBlockIndex(this.program3d, name[0].toUpperCase() + name.slice(1));
    gl.uniformBlockBinding(this.program3d, index, place);
    this.made.push(() => gl.deleteBuffer(buffer));
  }

  texture(unit, name, target, filter, fill) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    fill();
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(target, wrap, gl.CLAMP_TO_EDGE);
    for (const which of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, which, filter);
    gl.uniform1i(this.at(name), unit);
    this.made.push(() => gl.deleteTexture(texture));
  }

  program(source, defines) {
    const gl = this.gl;
    const program = gl.createProgram();
    const shaders = [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, `#version 300 es\n${defines}${source}`]];
    for (const [kind, text] of shaders) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      gl.deleteShader(shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      const said = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader)).join(" ");
      throw new Unsupported(`This graphics card's driver refuses the program: ${said} ${gl.getProgramInfoLog(program)}`);
    }
    return program;
  }
}
