// The mask, as NiiVue's "drawing".

const SMOOTH_AFTER = 200; // ms

export class MaskLayer {
  constructor(nv) {
    this.nv = nv;
  }

  /** An empty mask on a grid. */
  clear(grid) {
    const { nv } = this;
    this.grid = grid;
    this.counts = new Float64Array(256);
    nv.drawBitmap = new Uint8Array(grid.rasShape.reduce((a, b) => a * b));
    nv.drawTexture = nv.r8Tex(nv.drawTexture, nv.gl.TEXTURE7, [3, ...grid.rasShape], true);
    this.#smooth();
  }

  /** Labels (z, y, x) of a box have changed. NiiVue's refreshDrawing walks through the whole mask at each change, which
   *  takes seconds in a large image; this sends the box, and leaves the smooth surface of the 3D view until after. */
  write(box, block) {
    this.grid.write(this.nv.drawBitmap, box, block, this.counts);
    this.#upload(box);
    this.nv.drawScene();
    clearTimeout(this.smoothing);
    this.smoothing = setTimeout(() => this.#smooth(), SMOOTH_AFTER);
  }

  /** Volume of the voxels that have one of these labels. */
  millilitres(labels) {
    const voxels = labels.reduce((sum, label) => sum + this.counts[label], 0);
    return (voxels * this.grid.rasSpacing.reduce((a, b) => a * b)) / 1000;
  }

  /** colors: of the labels 1, 2, …, as #rrggbb. */
  setColors(colors) {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    colors.forEach((color, index) => {
      [1, 3, 5].forEach((at, i) => table["RGB"[i]].push(parseInt(color.slice(at, at + 2), 16)));
      table.A.push(255);
      table.I.push(index + 1);
      table.labels.push("");
    });
    this.nv.setDrawColormap(table);
  }

  setStyle({ opacity, outline }) {
    this.nv.drawRimOpacity = outline && opacity > 0 ? Math.max(0.9, opacity) : -1;
    this.nv.setDrawOpacity(opacity);
  }

  #upload(box) {
    const { gl, drawBitmap, drawTexture } = this.nv;
    const [a, b] = [0, 1].map((end) => this.grid.toRas(box.map((interval) => interval[end] - end)));
    const low = a.map((v, i) => Math.min(v, b[i]));
    const size = a.map((v, i) => Math.abs(v - b[i]) + 1);
    const layout = {
      [gl.UNPACK_ALIGNMENT]: 1,
      [gl.UNPACK_ROW_LENGTH]: this.grid.rasShape[0],
      [gl.UNPACK_IMAGE_HEIGHT]: this.grid.rasShape[1],
      [gl.UNPACK_SKIP_PIXELS]: low[0],
      [gl.UNPACK_SKIP_ROWS]: low[1],
      [gl.UNPACK_SKIP_IMAGES]: low[2],
    };
    const before = Object.keys(layout).map((name) => [name, gl.getParameter(Number(name))]);
    gl.activeTexture(gl.TEXTURE7);
    gl.bindTexture(gl.TEXTURE_3D, drawTexture);
    for (const [name, value] of Object.entries(layout)) gl.pixelStorei(Number(name), value);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...low, ...size, gl.RED, gl.UNSIGNED_BYTE, drawBitmap);
    for (const [name, value] of before) gl.pixelStorei(Number(name), value);
  }

  #smooth() {
    this.nv.blurDrawingGL([3, ...this.grid.rasShape]);
    this.nv.drawScene();
  }
}
