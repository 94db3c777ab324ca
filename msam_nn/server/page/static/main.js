// The page: connects the parts.

import { KeyNeeded, Server } from "./api.js";
import { acceptDrops, asCase, save } from "./files.js";
import { Keyboard, helpColumns } from "./keyboard.js";
import { Marks } from "./marks.js";
import { Choice, Steps, element } from "./panel.js";
import { Session } from "./session.js";
import { shortcutGroups } from "./shortcuts.js";
import { TOOLS, Tools } from "./tools.js";
import { LAYOUTS, Viewer } from "./viewer.js";

const PALETTE = ["#ff6b5e", "#4fb3ff", "#5ddf8b", "#ffc94d", "#c58bff", "#ff9ad1", "#3fd9d0", "#ff9f45", "#a3c14a", "#8f9bff"];
const ICONS = {
  click: "M9 3v5M9 13v8M3 11h4M11 11h10M9 11h0",
  box: "M4 5h16v14H4z",
  scribble: "M3 17c3-8 5-10 7-9s-2 9 1 10 4-9 7-9 2 4 3 4",
  lasso: "M12 4c5 0 9 2.600 9 6s-4 6-9 6-9-2.600-9-6 4-6 9-6zM8 15c-1 2 2 3 1 6",
};

const at = (id) => document.getElementById(id);
const server = new Server();
const viewer = new Viewer(at("gl"), { onDraw: () => marks.draw(), onMove: showLocation, onWindow: showWindow });
const marks = new Marks(at("marks"), viewer);
const session = new Session(server, viewer, { onChange: show, onError: tell, onProgress: showProgress });
const tools = new Tools(at("stage"), viewer, marks, {
  onPrompt: (prompt) => session.prompt({ ...prompt, class: classIndex }),
  onBox: (waits) => (at("pending-box").hidden = !waits),
});
const steps = new Steps(at("steps"));
const toolChoice = new Choice(at("tools"), (id) => {
  tools.choose(id);
  at("brush").hidden = id !== "scribble";
  at("hint").textContent = TOOLS[id].hint;
});
const classChoice = new Choice(at("classes"), (id) => (classIndex = Number(id)));

let info = null;
let classIndex = 0;
let maskHidden = false;

async function start() {
  readKeyFromAddress();
  toolChoice.items = Object.entries(TOOLS).map(([id, { name, key, hint }]) => ({ id, key, title: `${hint} (${key})`, parts: [icon(id), name] }));
  toolChoice.choose("click");
  at("layout").replaceChildren(...Object.keys(LAYOUTS).map((name) => new Option(name)));
  at("help-columns").replaceChildren(...helpColumns(shortcuts));
  try {
    info = await withKey(() => server.info());
    await viewer.attach();
  } catch (error) {
    tell(error);
    return;
  }
  viewer.mask.setColors(Array.from({ length: 254 }, (_, label) => PALETTE[label % PALETTE.length]));
  styleMask();
  at("model").textContent = info.model;
  at("model").title = info.model;
  at("expected").textContent =
    info.channels.length === 1 ? `One image of a case: ${info.channels[0]}.` : `All ${info.channels.length} images of a case together: ${info.channels.join(", ")}.`;
  classChoice.items = info.classes.map(({ name, index }) => {
    const swatch = element("span", "swatch");
    swatch.style.background = colorOf(index);
    const size = element("span", "size");
    size.id = `size-${index}`;
    return { id: index, key: String(index + 1), parts: [swatch, element("span", "name", name), size] };
  });
  classChoice.choose(info.class_index ?? 0);
  show();
  document.body.dataset.ready = "true";
}

function colorOf(index) {
  return PALETTE[(info.classes[index].label - 1) % PALETTE.length];
}

async function open(files) {
  try {
    const { name, images } = asCase(files, info.channels);
    tools.enabled = false;
    marks.clicks = [];
    tools.cancel();
    await session.leave();
    await viewer.open(images, info.channels);
    at("start").hidden = true;
    at("channels").hidden = at("channel").disabled = images.length === 1;
    at("channel").replaceChildren(...channelOptions(info.channels));
    await withKey(() => session.open(name, images));
    if (info.automatic) session.automatic();
  } catch (error) {
    tell(error);
  }
  show();
}

/** Each channel, and each later one in colours over the first. */
function channelOptions(channels) {
  const alone = channels.map((channel, index) => new Option(channel, index));
  const pairs = channels.slice(1).map((channel, index) => new Option(`${channels[0]} with ${channel} over it`, `0+${index + 1}`));
  return [...alone, ...pairs];
}

async function saveFile(path, name) {
  try {
    save(await server.file(path), name);
  } catch (error) {
    tell(error);
  }
}

/** Ask for the key as long as the server says that it needs one. */
async function withKey(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof KeyNeeded)) throw error;
      at("key-wrong").hidden = !server.key;
      const dialog = at("key-dialog");
      dialog.showModal();
      await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
      server.useKey(at("key").value);
    }
  }
}

function readKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return;
  server.useKey(key);
  history.replaceState(null, "", location.pathname);
}

function show() {
  const { isOpen, busy } = session;
  tools.enabled = isOpen;
  marks.clicks = session.clicks;
  marks.draw();
  at("case").hidden = !isOpen;
  at("case").textContent = session.name;
  document.title = isOpen ? `${session.name} · msam` : "msam serve";
  document.body.dataset.busy = String(busy > 0);
  at("automatic").disabled = !isOpen || busy > 0;
  at("undo").disabled = !session.can.undo && !busy; // while a step is on its way, it can be taken back
  at("redo").disabled = !session.can.redo;
  at("reset").disabled = !isOpen || busy > 0 || !session.steps.some(({ prompt }) => prompt.kind !== "automatic");
  for (const id of ["save-mask", "save-prompts"]) at(id).disabled = !isOpen || busy > 0;
  for (const id of ["window-low", "window-high", "window-auto"]) at(id).disabled = !isOpen;
  steps.show(session.steps.map(describe));
  if (isOpen) info.classes.forEach(({ index, members }) => (at(`size-${index}`).textContent = volumeOf(members)));
}

function describe({ prompt, ...rest }) {
  const sign = prompt.kind === "automatic" || prompt.kind === "box" ? "other" : prompt.positive ? "plus" : "minus";
  const color = prompt.class === undefined ? undefined : colorOf(prompt.class);
  const names = { point: "Click", box: "Box", scribble: "Scribble", lasso: "Lasso", automatic: "Automatic prediction" };
  const place = prompt.voxel ? ` ${prompt.voxel.join(", ")}` : "";
  return { text: names[prompt.kind] + place, sign, color, ...rest };
}

function volumeOf(labels) {
  const millilitres = viewer.mask.millilitres(labels);
  return millilitres ? `${millilitres < 10 ? millilitres.toFixed(2) : millilitres.toFixed(0)} ml` : "";
}

function showLocation(voxel, value) {
  const shown = Math.abs(value) >= 100 || Number.isInteger(value) ? Math.round(value) : value.toPrecision(3);
  at("location").textContent = `voxel ${voxel.join(", ")} (z, y, x) · value ${shown}`;
}

function showWindow() {
  if (!viewer.grid) return;
  const [low, high] = viewer.window;
  const digits = high - low > 20 ? 0 : 2;
  at("window-low").value = low.toFixed(digits);
  at("window-high").value = high.toFixed(digits);
}

function showProgress(status) {
  at("progress").hidden = !status;
  if (!status) return;
  at("progress-text").textContent = `${status.message} …`;
  if (status.progress > 0) at("progress-bar").value = status.progress;
  else at("progress-bar").removeAttribute("value");
}

function tell(error) {
  if (!error.message) console.error(error);
  at("message-text").textContent = error.message || "Something went wrong in this page; the browser's console says what.";
  at("message").hidden = false;
}

function styleMask() {
  viewer.mask.setStyle({ opacity: maskHidden ? 0 : Number(at("opacity").value), outline: !maskHidden && at("outline").checked });
}

function fade(by) {
  at("opacity").value = Number(at("opacity").value) + by;
  maskHidden = false;
  styleMask();
}

function icon(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[id]);
  svg.append(path);
  return svg;
}

const shortcuts = shortcutGroups({
  tool: (id) => toolChoice.choose(id),
  classAt: (index) => info.classes[index] && classChoice.choose(index),
  click: (positive) => tools.clickAtCrosshair(positive),
  applyBox: () => tools.applyBox(),
  cancel: () => tools.cancel(),
  brush: (by) => setBrush(tools.brush + by),
  walk: (...by) => session.isOpen && viewer.step(tools.plane ?? 0, by),
  zoom: (factor) => session.isOpen && viewer.zoom(factor),
  next: (id) => !at(id).disabled && next(id),
  hide: () => ((maskHidden = !maskHidden), styleMask()),
  fade,
  press: (id) => at(id).disabled || at(id).click(),
});
new Keyboard(shortcuts);

function next(id) {
  const select = at(id);
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}

function setBrush(size) {
  at("brush-size").value = size;
  tools.brush = Number(at("brush-size").value);
  at("brush-value").textContent = `${tools.brush * 2 - 1} voxel${tools.brush > 1 ? "s" : ""}`;
}

const on = (id, event, action) => at(id).addEventListener(event, action);
for (const id of ["open", "open-first"]) on(id, "click", () => at("files").click());
on("files", "change", ({ target }) => {
  const files = [...target.files];
  target.value = "";
  if (files.length) open(files);
});
acceptDrops(at("drop-hint"), open);
on("channel", "change", ({ target }) => viewer.show(...target.value.split("+").map(Number)));
on("layout", "change", ({ target }) => viewer.setLayout(target.value));
for (const id of ["window-low", "window-high"]) {
  on(id, "change", () => (viewer.window = [Number(at("window-low").value), Number(at("window-high").value)]));
}
on("window-auto", "click", () => viewer.autoWindow());
on("brush-size", "input", ({ target }) => setBrush(target.value));
on("automatic", "click", () => session.automatic());
on("undo", "click", () => session.undo());
on("redo", "click", () => session.redo());
on("reset", "click", () => session.reset());
on("opacity", "input", () => ((maskHidden = false), styleMask()));
on("outline", "change", styleMask);
on("save-mask", "click", () => saveFile("/page/api/mask.nii.gz", `${session.name}.nii.gz`));
on("save-prompts", "click", () => saveFile("/page/api/prompts.json", `${session.name}_prompts.json`));
on("box-inside", "click", () => tools.applyBox());
on("box-drop", "click", () => tools.cancel());
on("help-button", "click", () => at("help").showModal());
on("message-close", "click", () => (at("message").hidden = true));
at("stage").addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey || !session.isOpen) return;
    event.preventDefault();
    event.stopPropagation();
    viewer.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
  },
  { capture: true, passive: false },
);
window.addEventListener("pagehide", () => server.leave());
setBrush(2);
start();
