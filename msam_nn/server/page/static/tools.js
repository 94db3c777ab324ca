// From the mouse to prompts, and to the window. What no tool needs is left to the viewer.

import { fill, pack, stroke } from "./voxels.js";

const MOVED = 4; // pixels beyond which a click is a drag

export const TOOLS = {
  click: { name: "Click", key: "C", hint: "Left click adds, right click removes. Drag left to look around, right for the window." },
  box: { name: "Box", key: "B", hint: "Drag a rectangle; drag in another plane to bound its depth; Enter segments inside." },
  scribble: { name: "Scribble", key: "S", hint: "Paint with the left button what belongs to it, with the right what does not." },
  lasso: { name: "Lasso", key: "L", hint: "Draw around what belongs to it; with the right button around what does not." },
};

export class Tools {
  /** onPrompt: called with {kind, positive, …}, ready to be sent but for its class. onBox: a box waits, or none does. */
  constructor(stage, viewer, marks, { onPrompt, onBox }) {
    Object.assign(this, { stage, viewer, marks, onPrompt, onBox });
    this.tool = "click";
    this.brush = 2;
    this.plane = null; // the one under the mouse
    this.enabled = false;
    stage.addEventListener("mousedown", (event) => this.#down(event), true);
    window.addEventListener("mousemove", (event) => this.#move(event), true);
    window.addEventListener("mouseup", (event) => this.#up(event), true);
  }

  choose(tool) {
    this.tool = tool;
    this.cancel();
  }

  cancel() {
    this.press = this.marks.sketch = null;
    this.#showBox(null);
  }

  /** Send the box that waits. */
  applyBox() {
    if (!this.marks.box) return;
    const { low, high } = this.marks.box;
    this.#showBox(null);
    this.onPrompt({ kind: "box", positive: true, box: this.viewer.grid.toBox(low, high) });
  }

  /** A click at the crosshair, for the keyboard. */
  clickAtCrosshair(positive) {
    if (this.enabled) this.onPrompt({ kind: "point", positive, voxel: this.viewer.crosshair });
  }

  #down(event) {
    if (!this.enabled || event.target !== this.viewer.canvas || event.button === 1 || event.shiftKey || event.ctrlKey) return;
    const where = this.viewer.planeAt(event);
    if (!where) return;
    const ras = this.viewer.rasAt(event, where);
    const positive = event.button === 0;
    this.press = { where, x: event.clientX, y: event.clientY, positive, voxel: this.viewer.voxelAt(event, where), ras };
    const drawn = this.tool === "scribble" || this.tool === "lasso";
    this.press.window = !positive && !drawn ? [event.clientX, event.clientY] : null;
    if (this.tool === "click" && positive) return;
    event.stopPropagation();
    event.preventDefault();
    if (this.press.window) return;
    if (this.tool === "box") this.press.before = this.marks.box;
    else this.marks.sketch = { tile: where.tile, positive, points: [ras], closed: this.tool === "lasso", radius: this.brush - 0.5 };
    this.marks.draw();
  }

  #move(event) {
    if (!this.press) {
      if (this.enabled && event.target === this.viewer.canvas) this.plane = this.viewer.planeAt(event)?.plane ?? this.plane;
      return;
    }
    const { where, ras, before } = this.press;
    if (this.press.window) {
      const [x, y] = this.press.window;
      this.press.window = [event.clientX, event.clientY];
      const moved = Math.hypot(event.clientX - this.press.x, event.clientY - this.press.y) > MOVED;
      if (moved) this.viewer.dragWindow(event.clientX - x, event.clientY - y);
    } else if (this.marks.sketch) {
      this.marks.sketch.points.push(this.viewer.rasAt(event, where));
    } else if (this.tool === "box" && this.press.positive) {
      this.#showBox(this.#stretch(before, ras, this.viewer.rasAt(event, where), where));
    } else {
      return;
    }
    event.stopPropagation();
    this.marks.draw();
  }

  #up(event) {
    if (!this.press) return;
    const { where, x, y, positive, voxel } = this.press;
    const moved = Math.hypot(event.clientX - x, event.clientY - y) > MOVED;
    const sketch = this.marks.sketch;
    this.press = this.marks.sketch = null;
    if (this.tool === "click") {
      if (!moved && voxel) this.onPrompt({ kind: "point", positive, voxel });
    } else if (sketch) {
      event.stopPropagation();
      this.#sendSketch(sketch, where);
    }
    this.marks.draw();
  }

  #sendSketch({ points, positive, closed, radius }, where) {
    const { axes, slice } = this.viewer.planes.find(({ tile }) => tile === where.tile);
    const [u, v, w] = axes;
    const size = [this.viewer.grid.rasShape[u], this.viewer.grid.rasShape[v]];
    const flat = points.map((ras) => [ras[u], ras[v]]);
    const painted = closed ? fill(flat, size) : stroke(flat, radius, size);
    if (!painted.length) return;
    const voxels = painted.map(([a, b]) => {
      const ras = [0, 0, 0];
      [ras[u], ras[v], ras[w]] = [a, b, slice];
      return this.viewer.grid.toVoxel(ras);
    });
    const { box, bits } = pack(voxels);
    this.onPrompt({ kind: closed ? "lasso" : "scribble", positive, box, mask: base64(bits) });
  }

  /** The box between two ras corners of a plane. Through the plane it keeps the depth of the box before, if that box
   *  reaches this slice, and else is flat. */
  #stretch(before, from, to, where) {
    const { axes, slice } = this.viewer.planes.find(({ tile }) => tile === where.tile);
    const low = from.map((v, i) => Math.min(v, to[i]));
    const high = from.map((v, i) => Math.max(v, to[i]));
    const through = axes[2];
    if (before && before.low[through] <= slice && slice <= before.high[through]) {
      [low[through], high[through]] = [before.low[through], before.high[through]];
    } else {
      [low[through], high[through]] = [slice, slice];
    }
    return { low, high };
  }

  #showBox(box) {
    this.marks.box = box;
    this.onBox(Boolean(box));
    this.marks.draw();
  }
}

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
