// Voxels without a browser: orders of axes, strokes and polygons as blocks of voxels.
//
// "ras" is the viewer's order: indices (x, y, z) towards right, anterior, superior.
// "voxel" is the server's: indices (z, y, x) of the file as it is stored.

/** The grid of a file, and how the viewer turned it. perm: per ras axis the file's axis 1, 2, 3, negative where it is flipped. */
export class Grid {
  constructor(perm, rasShape, rasSpacing) {
    this.axes = perm.map((p) => 3 - Math.abs(p)); // file axis 1 (x) is array axis 2
    this.flipped = perm.map((p) => p < 0);
    this.rasShape = rasShape;
    this.rasSpacing = rasSpacing;
    this.shape = [0, 0, 0];
    this.axes.forEach((axis, i) => (this.shape[axis] = rasShape[i]));
  }

  toVoxel(ras) {
    const voxel = [0, 0, 0];
    this.axes.forEach((axis, i) => (voxel[axis] = this.flipped[i] ? this.rasShape[i] - 1 - ras[i] : ras[i]));
    return voxel;
  }

  toRas(voxel) {
    return this.axes.map((axis, i) => (this.flipped[i] ? this.rasShape[i] - 1 - voxel[axis] : voxel[axis]));
  }

  /** A box [[low, high], …] with excluded upper bounds from inclusive ras corners, and back. */
  toBox(low, high) {
    const [a, b] = [this.toVoxel(low), this.toVoxel(high)];
    return a.map((v, axis) => [Math.min(v, b[axis]), Math.max(v, b[axis]) + 1]);
  }

  /** Copy a block (z, y, x) of the server into the viewer's whole volume (x fastest, ras); counts: voxels per label. */
  write(volume, box, block, counts) {
    const [nx, ny] = this.rasShape;
    const strides = [1, nx, nx * ny];
    const step = [0, 0, 0];
    let start = 0;
    this.axes.forEach((axis, i) => {
      const first = box[axis][0];
      step[axis] = this.flipped[i] ? -strides[i] : strides[i];
      start += (this.flipped[i] ? this.rasShape[i] - 1 - first : first) * strides[i];
    });
    const [depth, height, width] = box.map(([low, high]) => high - low);
    let from = 0;
    for (let z = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        let to = start + z * step[0] + y * step[1];
        for (let x = 0; x < width; x++, to += step[2], from++) {
          counts[volume[to]]--;
          counts[block[from]]++;
          volume[to] = block[from];
        }
      }
    }
  }
}

/** Voxels of a plane within a brush's radius of a line of points; points and result are [u, v] of that plane. */
export function stroke(points, radius, [width, height]) {
  const painted = new Set();
  const dab = ([u, v]) => {
    const reach = Math.ceil(radius);
    for (let b = -reach; b <= reach; b++) {
      for (let a = -reach; a <= reach; a++) {
        if (a * a + b * b > radius * radius) continue;
        const [x, y] = [Math.round(u) + a, Math.round(v) + b];
        if (x >= 0 && y >= 0 && x < width && y < height) painted.add(y * width + x);
      }
    }
  };
  points.forEach((point, index) => {
    const before = points[Math.max(index - 1, 0)];
    const n = Math.max(1, Math.ceil(Math.hypot(point[0] - before[0], point[1] - before[1]) * 2));
    for (let i = 1; i <= n; i++) dab(before.map((c, axis) => c + ((point[axis] - c) * i) / n));
  });
  return [...painted].map((p) => [p % width, Math.floor(p / width)]);
}

/** Voxels whose centres lie in a closed polygon (even-odd rule). */
export function fill(points, [width, height]) {
  const inside = [];
  const low = Math.max(0, Math.ceil(Math.min(...points.map((p) => p[1]))));
  const high = Math.min(height - 1, Math.floor(Math.max(...points.map((p) => p[1]))));
  for (let v = low; v <= high; v++) {
    const crossings = [];
    points.forEach(([u1, v1], index) => {
      const [u0, v0] = points[(index + points.length - 1) % points.length];
      if (v0 <= v !== v1 <= v) crossings.push(u0 + ((v - v0) * (u1 - u0)) / (v1 - v0));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const [first, last] = [Math.max(0, Math.ceil(crossings[i])), Math.min(width - 1, Math.floor(crossings[i + 1]))];
      for (let u = first; u <= last; u++) inside.push([u, v]);
    }
  }
  return inside;
}

/** Voxels (z, y, x) as the smallest box that holds them and its voxels packed into bits, first voxel in the highest bit. */
export function pack(voxels) {
  const box = [0, 1, 2].map((axis) => {
    let [low, high] = [Infinity, -Infinity];
    for (const voxel of voxels) [low, high] = [Math.min(low, voxel[axis]), Math.max(high, voxel[axis])];
    return [low, high + 1];
  });
  const [depth, height, width] = box.map(([low, high]) => high - low);
  const bits = new Uint8Array(Math.ceil((depth * height * width) / 8));
  for (const voxel of voxels) {
    const [z, y, x] = voxel.map((v, axis) => v - box[axis][0]);
    const index = (z * height + y) * width + x;
    bits[index >> 3] |= 128 >> (index & 7);
  }
  return { box, bits };
}
