// NiiVue (the mask in it: mask.js): shows the channels, tells which voxel lies where.

import { DRAG_MODE, MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "./niivue.js";
import { MaskLayer } from "./mask.js";
import { Grid } from "./voxels.js";

export const LAYOUTS = {
  "Planes and 3D": { type: SLICE_TYPE.MULTIPLANAR },
  Axial: { type: SLICE_TYPE.AXIAL },
  Coronal: { type: SLICE_TYPE.CORONAL },
  Sagittal: { type: SLICE_TYPE.SAGITTAL },
  "3D": { type: SLICE_TYPE.RENDER },
};

const VEIL = 0.25; // opacity of the image in 3D
const OVER = 0.5; // of a channel over another one

/** Values of tissue, in HU. */
const CT_WINDOW = [-160, 240];

/** Ras axes that run along a tile's width, its height, and through it. */
const PLANE_AXES = {
  [SLICE_TYPE.AXIAL]: [0, 1, 2],
  [SLICE_TYPE.CORONAL]: [0, 2, 1],
  [SLICE_TYPE.SAGITTAL]: [1, 2, 0],
};

export class Viewer {
  /** onDraw: called after each drawing, onWindow: after one with another window, onMove: with the voxel of the crosshair
   *  and its value. */
  constructor(canvas, { onDraw, onMove, onWindow }) {
    this.canvas = canvas;
    this.channels = [];
    this.shown = 0;
    this.grid = null;
    this.onMove = onMove;
    this.nv = new Niivue({
      logLevel: "silent",
      loadingText: "",
      dragAndDropEnabled: false,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarPadPixels: 4,
      isRadiologicalConvention: true,
      isNearestInterpolation: false,
      crosshairWidth: 0, // the marks have a finer one
      smoothDrawing: 1,
      fontColor: [0.8, 0.84, 0.9, 1],
      fontMinPx: 12,
      backColor: [0.043, 0.051, 0.067, 1],
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
      mouseEventConfig: {
        leftButton: { primary: DRAG_MODE.crosshair, withShift: DRAG_MODE.pan },
        rightButton: DRAG_MODE.none,
        centerButton: DRAG_MODE.pan,
      },
    });
    this.mask = new MaskLayer(this.nv);
    const drawScene = this.nv.drawScene.bind(this.nv);
    let waiting = 0;
    this.nv.drawScene = () => (waiting ||= requestAnimationFrame(() => {
      waiting = 0; // NiiVue draws several times for one change; once a frame is enough
      drawScene();
      if (!this.grid) return;
      onDraw();
      if (String(this.window) !== this.drawnWindow) onWindow();
      this.drawnWindow = String(this.window);
    }));
    const draw3D = this.nv.draw3D.bind(this.nv);
    this.nv.draw3D = (...args) => this.#veiled(() => draw3D(...args));
    this.nv.onLocationChange = () => this.#moved();
  }

  async attach() {
    await this.nv.attachToCanvas(this.canvas);
    this.nv.resetBriCon = () => {}; // a double click is two clicks, not another window
    this.nv.keyDownListener = this.nv.keyUpListener = () => {};
  }

  /** Show files, one per channel of these names; the first is shown. */
  async open(files, channels) {
    const volumes = [];
    for (const [index, file] of files.entries()) {
      const volume = await read(file);
      const isCT = /^CT\b/i.test(channels[index]);
      volume.usual = isCT ? CT_WINDOW : [volume.robust_min, volume.robust_max];
      [volume.cal_min, volume.cal_max] = volume.usual;
      volumes.push(volume);
    }
    const [first] = volumes;
    if (volumes.some((v) => String(v.dimsRAS) !== String(first.dimsRAS))) {
      throw new Error("The channels have different sizes: they must be images of one case on one grid.");
    }
    this.channels = volumes;
    this.grid = new Grid(first.permRAS, first.dimsRAS.slice(1, 4), first.pixDimsRAS.slice(1, 4));
    this.nv.scene.crosshairPos = [0.5, 0.5, 0.5];
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.show(0);
    this.mask.clear(this.grid);
    this.#moved();
  }

  /** Show a channel, and maybe another one in colours over it. */
  show(channel, over = null) {
    this.shown = channel;
    const volumes = [channel, over].filter((c) => c !== null).map((c) => this.channels[c]);
    volumes.forEach((volume, index) => {
      volume._colormap = index ? "hot" : "gray";
      volume._opacity = index ? OVER : 1;
    });
    this.nv.volumes = volumes;
    this.nv.setVolume(volumes[0], 0);
    this.#moved();
  }

  setLayout(name) {
    this.nv.setSliceType(LAYOUTS[name].type);
  }

  get window() {
    const volume = this.channels[this.shown];
    return [volume.cal_min, volume.cal_max];
  }

  set window([low, high]) {
    const volume = this.channels[this.shown];
    [volume.cal_min, volume.cal_max] = [low, Math.max(high, low + 1e-3 * (volume.usual[1] - volume.usual[0]))];
    this.nv.updateGLVolume();
  }

  /** Change the window by pixels: right is wider, up is higher. */
  dragWindow(right, down) {
    const [low, high] = this.window;
    const [usualLow, usualHigh] = this.channels[this.shown].usual;
    const unit = (usualHigh - usualLow) / 300;
    this.window = [low - (right / 2 + down) * unit, high + (right / 2 - down) * unit];
  }

  autoWindow() {
    this.window = this.channels[this.shown].usual;
  }

  get crosshairRas() {
    return this.#rasAt(this.nv.scene.crosshairPos);
  }

  get crosshair() {
    return this.grid.toVoxel(this.#rasAt(this.nv.scene.crosshairPos));
  }

  set crosshair(voxel) {
    const { rasShape } = this.grid;
    this.nv.scene.crosshairPos = this.grid.toRas(voxel).map((v, i) => (v + 0.5) / rasShape[i]);
    this.nv.drawScene();
    this.#moved();
  }

  /** Move the crosshair by whole voxels along the width, height and depth of a plane. */
  step(plane, [along, up, through]) {
    const axes = PLANE_AXES[plane];
    const ras = this.#rasAt(this.nv.scene.crosshairPos);
    const mirrored = this.nv.opts.isRadiologicalConvention && plane !== SLICE_TYPE.SAGITTAL ? -1 : 1;
    [along * mirrored, up, through].forEach((by, i) => {
      ras[axes[i]] = Math.min(Math.max(ras[axes[i]] + by, 0), this.grid.rasShape[axes[i]] - 1);
    });
    this.crosshair = this.grid.toVoxel(ras);
  }

  /** factor 0: the whole image again. */
  zoom(factor) {
    if (!factor) {
      this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
      return;
    }
    const pan = this.nv.scene.pan2Dxyzmm;
    const zoom = Math.min(Math.max(pan[3] * factor, 0.5), 12);
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    const keep = [0, 1, 2].map((i) => pan[i] + (pan[3] - zoom) * mm[i]); // as NiiVue: the crosshair stays in place
    this.nv.setPan2Dxyzmm([...keep, zoom]);
  }

  /** The plane under a mouse event: {plane, tile}, or null outside of planes. */
  planeAt(event) {
    const [x, y] = this.#pixel(event);
    const tile = this.nv.screenSlices.findIndex((slice) => contains(frame(slice), x, y));
    const plane = tile < 0 ? undefined : this.nv.screenSlices[tile].axCorSag;
    return plane in PLANE_AXES ? { plane, tile } : null;
  }

  /** A mouse event in a tile as ras indices, clamped to the image. null if it lies outside and clamp is off. */
  rasAt(event, { tile }, clamp = true) {
    const fraction = this.nv.screenXY2TextureFrac(...this.#clamped(event, tile, clamp), tile, false);
    if (!clamp && fraction.some((f) => f < 0 || f > 1)) return null;
    return this.#rasAt(fraction);
  }

  voxelAt(event, where) {
    const ras = this.rasAt(event, where, false);
    return ras && this.grid.toVoxel(ras);
  }

  /** The planes on the screen with the ras index of their slices: [{plane, tile, axes, slice}]. */
  get planes() {
    const at = this.#rasAt(this.nv.scene.crosshairPos);
    return this.nv.screenSlices.flatMap((slice, tile) => {
      const axes = PLANE_AXES[slice.axCorSag];
      return axes ? [{ plane: slice.axCorSag, tile, axes, slice: at[axes[2]] }] : [];
    });
  }

  /** Where a ras position (continuous, voxel centres at whole numbers) lies on the canvas, in CSS pixels. */
  place(ras, tile) {
    const slice = this.nv.screenSlices[tile];
    const { rasShape } = this.grid;
    const mm = this.nv.frac2mm(ras.map((v, i) => (v + 0.5) / rasShape[i]));
    const [horizontal, vertical] = PLANE_AXES[slice.axCorSag];
    let across = (mm[horizontal] - slice.leftTopMM[0]) / slice.fovMM[0];
    const up = (mm[vertical] - slice.leftTopMM[1]) / slice.fovMM[1];
    const [left, top, width, height] = frame(slice);
    if (slice.leftTopWidthHeight[2] < 0) across = 1 - across;
    return [(left + across * width) / this.#dpr, (top + (1 - up) * height) / this.#dpr];
  }

  /** CSS rectangle [left, top, width, height] of a tile. */
  frame(tile) {
    return frame(this.nv.screenSlices[tile]).map((v) => v / this.#dpr);
  }

  /** In 3D the image is a veil around the mask. */
  #veiled(draw) {
    const { nv } = this;
    const opacity = nv.drawOpacity;
    nv.renderShader.use(nv.gl);
    nv.gl.uniform1f(nv.renderShader.uniforms.backOpacity, VEIL);
    if (opacity > 0) nv.drawOpacity = 1;
    try {
      return draw();
    } finally {
      nv.drawOpacity = opacity;
    }
  }

  #moved() {
    if (!this.grid) return;
    const ras = this.#rasAt(this.nv.scene.crosshairPos);
    const value = this.channels[this.shown].getValue(...ras);
    this.onMove(this.grid.toVoxel(ras), value);
  }

  #rasAt(fraction) {
    return this.grid.rasShape.map((n, i) => Math.min(Math.max(Math.floor(fraction[i] * n), 0), n - 1));
  }

  get #dpr() {
    return this.nv.uiData.dpr || 1;
  }

  #pixel(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [(event.clientX - left) * this.#dpr, (event.clientY - top) * this.#dpr];
  }

  #clamped(event, tile, clamp) {
    const [x, y] = this.#pixel(event);
    if (!clamp) return [x, y];
    const [left, top, width, height] = frame(this.nv.screenSlices[tile]);
    return [Math.min(Math.max(x, left), left + width), Math.min(Math.max(y, top), top + height)];
  }
}

async function read(file) {
  try {
    return await NVImage.loadFromFile({ file, name: file.name, colormap: "gray" });
  } catch (error) {
    throw new Error(`${file.name} is damaged or no NIfTI: copy or export it again.`, { cause: error });
  }
}

/** [left, top, width, height] of a tile; NiiVue gives mirrored tiles a negative width. */
function frame(slice) {
  const [left, top, width, height] = slice.leftTopWidthHeight;
  return width < 0 ? [left + width, top, -width, height] : [left, top, width, height];
}

function contains([left, top, width, height], x, y) {
  return x >= left && y >= top && x <= left + width && y <= top + height;
}
