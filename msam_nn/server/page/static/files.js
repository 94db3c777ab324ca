// Files that come in and go out.

const NIFTI = /\.nii(\.gz)?$/i;
const CHANNEL = /_(\d{4})$/;

/** The channels of one case among files, in order, and its name.
 *  Throws an Error with a sentence if they are not as many as the model takes. */
export function asCase(files, channels) {
  const images = [...files].filter((file) => NIFTI.test(file.name));
  if (!images.length) throw new Error("This is no NIfTI: the page opens files that end in .nii or .nii.gz.");
  images.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (images.length !== channels.length) {
    const named = channels.length === 1 ? `one image (${channels[0]})` : `${channels.length} images of a case together: ${channels.join(", ")}`;
    throw new Error(`The model takes ${named}; ${images.length === 1 ? "this is one" : `these are ${images.length}`}.`);
  }
  const stem = images[0].name.replace(NIFTI, "");
  return { name: stem.replace(CHANNEL, "") || stem, images };
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Let files be dropped anywhere in the window. */
export function acceptDrops(hint, onFiles) {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragenter", (event) => {
    if (hasFiles(event)) depth++;
    hint.hidden = !depth;
  });
  window.addEventListener("dragleave", (event) => {
    if (hasFiles(event)) depth = Math.max(0, depth - 1);
    hint.hidden = !depth;
  });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    hint.hidden = true;
    if (event.dataTransfer.files.length) onFiles(event.dataTransfer.files);
  });
}
