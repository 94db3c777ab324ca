// What lies over the planes: clicks, the box being drawn, strokes. Drawn after each drawing of the viewer.

const COLOR = { true: "#4ade80", false: "#fb7185" };

const GAP = 12; // pixels around the crosshair's centre

export class Marks {
  constructor(canvas, viewer) {
    this.canvas = canvas;
    this.viewer = viewer;
    this.clicks = []; // {voxel, positive, waiting}
    this.box = null; // {low, high}: inclusive ras corners
    this.sketch = null; // {tile, positive, points: ras, closed, radius}
  }

  draw() {
    const { canvas, viewer } = this;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!viewer.grid) return;
    for (const plane of viewer.planes) {
      context.save();
      context.beginPath();
      context.rect(...viewer.frame(plane.tile));
      context.clip();
      this.#crosshair(context, plane);
      for (const click of this.clicks) this.#click(context, plane, click);
      if (this.box) this.#box(context, plane);
      if (this.sketch?.tile === plane.tile) this.#sketch(context, plane);
      context.restore();
    }
  }

  #crosshair(context, { tile, axes, slice }) {
    const { grid, crosshairRas } = this.viewer;
    const [x, y] = this.viewer.place(crosshairRas, tile);
    const [left, top, width, height] = this.viewer.frame(tile);
    context.strokeStyle = "rgb(140 190 255 / 55%)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [from, to] of [[left, x - GAP], [x + GAP, left + width]]) context.moveTo(from, y), context.lineTo(Math.max(from, to), y);
    for (const [from, to] of [[top, y - GAP], [y + GAP, top + height]]) context.moveTo(x, from), context.lineTo(x, Math.max(from, to));
    context.stroke();
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = "rgb(205 215 230 / 75%)";
    context.fillText(`${slice + 1} / ${grid.rasShape[axes[2]]}`, left + 8, top + height - 8);
  }

  #click(context, { tile, axes, slice }, { voxel, positive, waiting }) {
    const ras = this.viewer.grid.toRas(voxel);
    const away = Math.abs(ras[axes[2]] - slice);
    if (away > 2) return;
    const [x, y] = this.viewer.place(ras, tile);
    context.globalAlpha = [1, 0.45, 0.2][away];
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.fillStyle = COLOR[positive];
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#0b0d11";
    context.setLineDash(waiting ? [3, 3] : []);
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(x - 3, y);
    context.lineTo(x + 3, y);
    if (positive) {
      context.moveTo(x, y - 3);
      context.lineTo(x, y + 3);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  #box(context, { tile, axes, slice }) {
    const { low, high } = this.box;
    const inside = low[axes[2]] <= slice && slice <= high[axes[2]];
    const corner = (ends, by) => ends.map((v, axis) => (axis === axes[2] ? slice : v + by));
    const [x0, y0] = this.viewer.place(corner(low, -0.5), tile);
    const [x1, y1] = this.viewer.place(corner(high, 0.5), tile);
    context.lineWidth = 1.5;
    context.strokeStyle = inside ? "#fde047" : "rgb(253 224 71 / 35%)";
    context.setLineDash(inside ? [] : [4, 4]);
    context.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    context.setLineDash([]);
  }

  #sketch(context, { tile }) {
    const { points, positive, closed, radius } = this.sketch;
    const places = points.map((ras) => this.viewer.place(ras, tile));
    const voxel = [0, 1].map((i) => points[0].map((v) => v + i)).map((ras) => this.viewer.place(ras, tile));
    context.strokeStyle = context.fillStyle = COLOR[positive];
    context.lineWidth = closed ? 1.5 : Math.max(2, Math.abs(voxel[1][1] - voxel[0][1]) * 2 * radius);
    context.lineCap = context.lineJoin = "round";
    context.globalAlpha = closed ? 1 : 0.6;
    context.beginPath();
    places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (places.length === 1) context.lineTo(places[0][0] + 0.1, places[0][1]);
    context.stroke();
    if (closed) {
      context.closePath();
      context.globalAlpha = 0.2;
      context.fill();
    }
    context.globalAlpha = 1;
  }
}
