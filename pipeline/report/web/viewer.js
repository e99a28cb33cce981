// The page: an avatar drawn coarsely while it moves and finer and finer while it rests, and what stands around it.

const MOVING_MS = 33;              // that a picture may take while the avatar moves
const LEAST_SIDE = 64;             // pixels along its shorter side
const SHOWN_SIDE = 160;            // of the first picture that replaces the poster,
const PATIENCE_MS = 1500;          // unless it takes longer than this, or somebody turns the avatar
const BAND_MS = 30;                // that rows may take which are drawn at once
const FINER_S = 4;                 // that a picture of twice the canvas's pixels may take: it smooths edges
const MOST_SIDE = 2048;            // pixels along a picture's longer side
const REST_MS = 120;               // without a move until it rests
const BACKGROUNDS = { white: [1, 1, 1, 1], grey: [0.5, 0.5, 0.5, 1], black: [0, 0, 0, 1] };

class Viewer {
  constructor(avatars, sources) {
    this.avatars = avatars;
    this.element = (name) => document.getElementById(name);
    this.canvas = this.element("canvas");
    this.poster = this.element("poster");
    this.sources = sources;
    this.background = BACKGROUNDS.white;
    this.pixelsPerMs = 100;        // a guess, until the first rows are drawn
    this.movedAt = -Infinity;
    this.drawnTimes = [];
    this.number = 0;
    this.stage = null;             // the picture in work: { picture, camera, samples, row, sync, from, moving }
    this.shown = null;             // the picture on the canvas
    this.orbit = new Orbit(avatars[0].camera);
    this.fill();
  }

  /** Show an avatar by its number; resolves once its field is loaded. */
  async choose(number) {
    this.number = number;
    const avatar = this.avatars[number];
    this.orbit = new Orbit(avatar.camera);
    this.describe(avatar);
    this.poster.src = avatar.poster;
    this.poster.hidden = false;
    this.drop();
    try {
      this.renderer ??= this.newRenderer();
      if (!window.DecompressionStream) throw new Unsupported("This browser is too old to unpack the avatar");
      const field = takenApart(avatar.head, await unpackedBytes(this.element(`bytes-${number}`).textContent));
      if (this.number !== number) return;
      this.renderer.load(field);
      this.samples = avatar.head.samples;
      this.ready = true;
      this.say("");
      this.wake();
    } catch (error) {
      this.ready = false;
      const reason = error instanceof Unsupported ? error.message : `The avatar cannot be shown: ${error.message}`;
      this.say(`${reason}; this is a picture of it.`);
    }
  }

  newRenderer() {
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.ready = false;
      this.renderer = null;
      this.shown = this.stage = null;
      this.poster.hidden = false;
      this.say("The graphics card was taken away; this is a picture.");
    });
    this.canvas.addEventListener("webglcontextrestored", () => this.choose(this.number));
    return new Renderer(this.canvas, this.sources);
  }

  /** Forget what is drawn: another avatar comes. */
  drop() {
    this.ready = false;
    for (const picture of new Set([this.stage?.picture, this.shown])) if (picture) this.renderer?.forget(picture);
    this.stage = this.shown = this.shownFrom = null;
    this.finest = false;
  }

  wake() {
    this.ticking ??= requestAnimationFrame((now) => this.tick(now));
  }

  /** One turn of the page's clock: look whether the rows in work are drawn, and ask for the next ones. */
  tick(now) {
    this.ticking = undefined;
    if (!this.ready) return;
    if (this.spinning) {
      this.orbit.turn(-Math.min(100, now - (this.spunAt ?? now)) * 0.03, 0);
      this.spunAt = now;
      this.moved();
    }
    this.fit();
    const stage = this.stage;
    if (stage && stage.sync && this.renderer.finished(stage.sync)) this.drawn(stage, now);
    if (!this.stage || (!this.stage.sync && this.stage.row >= this.stage.picture.height)) this.next(now);
    if (this.stage && !this.stage.sync) this.ask(now);
    this.count(now);
    if (!this.finest || this.spinning || now - this.movedAt < 1000) this.wake();
  }

  /** The canvas has as many pixels as its place on the screen. */
  fit() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.finest = false;
    this.abandon();
    if (this.shown) this.renderer.show(this.shown, this.background);
    this.shownFrom = null;
  }

  moved() {
    this.movedAt = performance.now();
    this.finest = false;
    if (this.stage && !this.stage.moving) this.abandon();
    this.wake();
  }

  /** Give up a picture in work that nobody waits for any more. */
  abandon() {
    const stage = this.stage;
    this.stage = null;
    if (!stage) return;
    if (this.shown !== stage.picture) this.renderer?.forget(stage.picture);
  }

  resting(now) {
    return !this.spinning && now - this.movedAt > REST_MS;
  }

  /** Begin the next picture: coarse where something moved, else finer than the last. */
  next(now) {
    this.stage = null;
    const whole = { width: this.canvas.width, height: this.canvas.height };
    const camera = JSON.stringify(this.orbit.camera(1, 1)) + whole.width / whole.height;
    const isNew = camera !== this.shownFrom;
    const shorter = Math.min(whole.width, whole.height);
    const moving = isNew;
    let factor;
    if (isNew) {
      const side = Math.sqrt(this.pixelsPerMs * MOVING_MS * shorter ** 2 / (whole.width * whole.height));
      factor = Math.min(1, Math.max(LEAST_SIDE, side) / shorter);
    } else if (!this.resting(now) || this.finest) {
      return;
    } else {
      factor = this.shownFactor < 1 ? Math.min(1, 2 * this.shownFactor) : 2;
      const seconds = whole.width * whole.height * factor ** 2 / this.pixelsPerMs / 1000;
      const isTooMuch = factor > 1 && (seconds > FINER_S || factor * Math.max(whole.width, whole.height) > MOST_SIDE);
      if (isTooMuch || (this.shownFactor >= 2)) {
        this.finest = true;
        return;
      }
    }
    // Twice the canvas's pixels: each pixel is then the mean of four, exactly.
    const [width, height] = [whole.width, whole.height].map((side) => Math.max(1, Math.round(side * factor)));
    const like = isNew ? null : this.shown;
    this.stage = {
      picture: this.renderer.picture(width, height, like), camera: this.orbit.camera(width, height), from: camera,
      samples: moving ? Math.max(8, Math.ceil(this.samples / 2)) : this.samples, row: 0, sync: null, moving, factor,
    };
  }

  /** Ask for as many rows as take about :const:`BAND_MS`; a coarse picture is drawn at once. */
  ask(now) {
    const stage = this.stage;
    const { width, height } = stage.picture;
    const rows = stage.moving ? height : Math.max(1, Math.round(this.pixelsPerMs * BAND_MS / width));
    stage.rows = Math.min(rows, height - stage.row);
    this.renderer.draw(stage.picture, stage.camera, stage.samples, stage.row, stage.rows);
    stage.askedAt = performance.now();
    stage.sync = this.renderer.mark();
  }

  /** Rows are there: show them, and learn how fast this machine is. */
  drawn(stage, now) {
    const ms = Math.max(1, performance.now() - stage.askedAt);
    const pixels = stage.picture.width * stage.rows;
    // Seen at the screen's next turn only: within one turn it may have been much faster.
    const limit = stage.moving ? MOVING_MS : BAND_MS;
    const measured = ms < 20 ? Math.max(this.pixelsPerMs, 1.5 * pixels / limit) : pixels / ms * (stage.moving ? 1 : 1.1);
    this.pixelsPerMs += (Math.min(1e6, measured) - this.pixelsPerMs) * (this.isMeasured ? 0.5 : 1);
    this.isMeasured = true;
    stage.sync = null;
    stage.row += stage.rows;
    const isWhole = stage.row >= stage.picture.height;
    const isShown = !this.poster.hidden || this.shown !== stage.picture;
    if (stage.moving && !isWhole) return;
    if (isWhole && !this.poster.hidden && this.isEnough(stage.picture)) this.reveal();
    if (isShown && this.shown !== stage.picture) {
      if (this.shown) this.renderer.forget(this.shown);
      this.shown = stage.picture;
    }
    this.renderer.show(stage.picture, this.background);
    if (isWhole) {
      this.shownFrom = stage.from;
      this.shownFactor = stage.factor;
      this.drawnTimes.push(now);
    }
  }

  /** Whether a picture may stand in for the poster: sharp enough, or nothing better comes soon. */
  isEnough(picture) {
    const ratio = SHOWN_SIDE / Math.min(picture.width, picture.height);
    const isLate = picture.width * picture.height * ratio ** 2 / this.pixelsPerMs > PATIENCE_MS;
    return ratio <= 1 || picture.width >= this.canvas.width || isLate || this.movedAt > 0;
  }

  /** The first picture stands in for the poster. */
  reveal() {
    this.poster.hidden = true;
    document.documentElement.dataset.firstPictureMs ??= Math.round(performance.now());
  }

  /** Frames a second while it moves, else how fine the picture is. */
  count(now) {
    while (this.drawnTimes.length && now - this.drawnTimes[0] > 1000) this.drawnTimes.shift();
    const size = this.shown ? `${this.shown.width} × ${this.shown.height}` : "";
    let text = "";
    if (!this.poster.hidden) text = "drawing the first picture";
    else if (!this.resting(now)) text = `${this.drawnTimes.length} frames/s · ${size}`;
    else text = this.finest ? `at rest · ${size} · ${this.samples} samples a ray` : `refining · ${size}`;
    if (text !== this.statusText) this.element("status").textContent = this.statusText = text;
    document.documentElement.dataset.finest = this.finest;
  }

  say(text) {
    this.element("message").textContent = text;
    this.element("message").hidden = !text;
  }

  describe(avatar) {
    this.element("name").textContent = avatar.name;
    this.element("caption").textContent = avatar.caption;
    this.poster.alt = `${avatar.name}: ${avatar.caption}`;
    const rows = avatar.made.map(([what, value]) => {
      const row = document.createElement("tr");
      for (const [kind, text] of [["th", what], ["td", value]]) row.appendChild(document.createElement(kind)).textContent = text;
      return row;
    });
    this.element("made").replaceChildren(...rows);
    document.querySelectorAll("#gallery button").forEach((button, i) => button.setAttribute("aria-pressed", i === this.number));
  }

  /** Buttons, gallery, hands and keys. */
  fill() {
    handle(this.canvas, () => this.orbit, () => this.moved(), (name) => this.command(name));
    for (const button of document.querySelectorAll("[data-command]")) {
      button.addEventListener("click", () => this.command(button.dataset.command));
    }
    for (const button of document.querySelectorAll("[data-background]")) {
      button.addEventListener("click", () => this.setBackground(button.dataset.background));
    }
    this.element("colour").addEventListener("input", (event) => this.setBackground(event.target.value));
    const gallery = this.element("gallery");
    gallery.hidden = this.avatars.length < 2;
    if (gallery.hidden) return;
    this.avatars.forEach((avatar, number) => {
      const button = gallery.appendChild(document.createElement("button"));
      const picture = button.appendChild(document.createElement("img"));
      picture.src = avatar.poster;
      picture.alt = avatar.name;
      button.title = `${avatar.name}: ${avatar.caption}`;
      button.addEventListener("click", () => this.choose(number));
    });
  }

  command(name) {
    if (name === "reset") this.orbit.reset();
    else if (name === "spin") {
      this.spinning = !this.spinning;
      this.spunAt = undefined;
      document.querySelector("[data-command=spin]").setAttribute("aria-pressed", this.spinning);
    } else if (name === "background") {
      const names = Object.keys(BACKGROUNDS);
      this.setBackground(names[(names.indexOf(this.backgroundName) + 1) % names.length]);
    } else if (name === "about") this.element("about").open = !this.element("about").open;
    else if (name === "next" || name === "previous") {
      const step = name === "next" ? 1 : this.avatars.length - 1;
      this.choose((this.number + step) % this.avatars.length);
      return;
    }
    if (name === "reset" || name === "spin") this.moved();
    this.wake();
  }

  /** ``white``, ``grey``, ``black`` or ``#rrggbb``. */
  setBackground(name) {
    this.backgroundName = name;
    const shares = name.startsWith("#") ? [1, 3, 5].map((i) => parseInt(name.slice(i, i + 2), 16) / 255) : BACKGROUNDS[name];
    this.background = [...shares.slice(0, 3), 1];
    const light = 0.3 * shares[0] + 0.6 * shares[1] + 0.1 * shares[2] > 0.45;
    document.body.className = light ? "light" : "dark";
    document.body.style.background = `rgb(${shares.slice(0, 3).map((share) => Math.round(255 * share)).join(" ")})`;
    if (this.shown) this.renderer.show(this.shown, this.background);
  }

  /** A picture for who asks by program: bytes as :meth:`Renderer.pixels`, of a camera as :meth:`Renderer.draw` takes it. */
  pixels(camera, samples) {
    const picture = this.renderer.picture(camera.width, camera.height);
    this.renderer.draw(picture, camera, samples);
    const bytes = this.renderer.pixels(picture);
    this.renderer.forget(picture);
    return bytes;
  }
}
