// Where the reader looks from: a camera that turns around a point, and the hands that turn it.

const RADIANS = Math.PI / 180;
const LIMITS = { elevation: 89, nearest: 0.4, farthest: 3, aside: 1.2 };

class Orbit {
  /** ``start``: distance in world units, fovDeg across the shorter side, azimuthDeg to the avatar's left, elevationDeg. */
  constructor(start) {
    this.start = start;
    this.reset();
  }

  reset() {
    this.azimuth = this.start.azimuthDeg;
    this.elevation = this.start.elevationDeg;
    this.distance = this.start.distance;
    this.target = [0, 0, 0];
  }

  turn(azimuth, elevation) {
    this.azimuth = (this.azimuth + azimuth) % 360;
    this.elevation = Math.min(LIMITS.elevation, Math.max(-LIMITS.elevation, this.elevation + elevation));
  }

  /** ``factor`` below 1 comes nearer. */
  zoom(factor) {
    const { nearest, farthest } = LIMITS;
    this.distance = Math.min(farthest * this.start.distance, Math.max(nearest * this.start.distance, this.distance * factor));
  }

  /** Move what is seen by shares of the picture's shorter side, to the right and down. */
  pan(right, down) {
    const reach = 2 * this.distance * Math.tan(this.start.fovDeg * RADIANS / 2);
    const [x, y] = this.axes();
    const { aside } = LIMITS;
    this.target = this.target.map((value, i) => Math.min(aside, Math.max(-aside, value - reach * (right * x[i] + down * y[i]))));
  }

  /** Right, down and forward in the world: pipeline.contracts.camera.Camera.look_at. */
  axes() {
    const [azimuth, elevation] = [this.azimuth * RADIANS, this.elevation * RADIANS];
    const forward = [-Math.sin(azimuth) * Math.cos(elevation), -Math.sin(elevation), -Math.cos(azimuth) * Math.cos(elevation)];
    const right = [Math.cos(azimuth), 0, -Math.sin(azimuth)];
    const down = [
      forward[1] * right[2] - forward[2] * right[1],
      forward[2] * right[0] - forward[0] * right[2],
      forward[0] * right[1] - forward[1] * right[0],
    ];
    return [right, down, forward];
  }

  /** The camera of a picture of so many pixels. */
  camera(width, height) {
    const [right, down, forward] = this.axes();
    const at = this.target.map((value, i) => value - this.distance * forward[i]);
    const focal = Math.min(width, height) / 2 / Math.tan(this.start.fovDeg * RADIANS / 2);
    const cam2world = [0, 1, 2].flatMap((i) => [right[i], down[i], forward[i], at[i]]).concat([0, 0, 0, 1]);
    return { cam2world, pinhole: [focal, focal, width / 2, height / 2], width, height };
  }
}

/** Mouse, touch and keys on an element; ``moved()`` after each move, ``command(name)`` for what is no move. */
function handle(element, orbit, moved, command) {
  const held = new Map();
  const side = () => Math.min(element.clientWidth, element.clientHeight);
  const middle = () => {
    const places = [...held.values()];
    const x = places.reduce((sum, place) => sum + place.x, 0) / places.length;
    const y = places.reduce((sum, place) => sum + place.y, 0) / places.length;
    const spread = places.length < 2 ? 0 : Math.hypot(places[0].x - places[1].x, places[0].y - places[1].y);
    return { x, y, spread };
  };
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    element.focus({ preventScroll: true });
  });
  element.addEventListener("pointermove", (event) => {
    if (!held.has(event.pointerId)) return;
    const before = middle();
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = middle();
    const [right, down] = [(now.x - before.x) / side(), (now.y - before.y) / side()];
    if (held.size > 1 || event.shiftKey || event.buttons & 6) orbit().pan(right, down);
    else orbit().turn(-180 * right, 180 * down);
    if (held.size > 1 && before.spread && now.spread) orbit().zoom(before.spread / now.spread);
    moved();
  });
  const release = (event) => held.delete(event.pointerId);
  element.addEventListener("pointerup", release);
  element.addEventListener("pointercancel", release);
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    orbit().zoom(Math.exp(Math.max(-200, Math.min(200, pixels)) / 500));
    moved();
  }, { passive: false });
  element.addEventListener("dblclick", () => command("reset"));
  const keys = {
    ArrowLeft: [6, 0], ArrowRight: [-6, 0], ArrowUp: [0, -6], ArrowDown: [0, 6],
  };
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in keys) {
      const [across, up] = keys[event.key];
      if (event.shiftKey) orbit().pan(-across / 120, up / 120);
      else orbit().turn(across, up);
    } else if (event.key === "+" || event.key === "=") orbit().zoom(0.9);
    else if (event.key === "-") orbit().zoom(1 / 0.9);
    else {
      const named = { r: "reset", Home: "reset", b: "background", " ": "spin", i: "about", PageDown: "next", PageUp: "previous" };
      if (!(event.key in named)) return;
      command(named[event.key]);
      event.preventDefault();
      return;
    }
    event.preventDefault();
    moved();
  });
}
