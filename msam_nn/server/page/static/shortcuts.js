// Every gesture and key of the page, in one list: it is what happens, and the help.

/** act: what a key may do. Rows: shown (caps in the help), text, and keys: KeyboardEvent.key, "ctrl+" or "shift+" before. */
export function shortcutGroups(act) {
  const classes = Object.fromEntries(Array.from("123456789", (key, index) => [key, () => act.classAt(index)]));
  return [
    {
      title: "Mouse",
      rows: [
        { shown: ["Left click"], text: "add what lies here to the class" },
        { shown: ["Right click"], text: "take what lies here away" },
        { shown: ["Left drag"], text: "look around; turn the 3D view" },
        { shown: ["Right drag"], text: "window: up and down, wide and narrow" },
        { shown: ["Wheel"], text: "slices" },
        { shown: ["Ctrl + wheel"], text: "zoom" },
        { shown: ["Shift + drag"], text: "move the image" },
      ],
    },
    {
      title: "Prompts",
      rows: [
        {
          shown: ["C", "B", "S", "L"],
          text: "click, box, scribble, lasso",
          keys: { c: () => act.tool("click"), b: () => act.tool("box"), s: () => act.tool("scribble"), l: () => act.tool("lasso") },
        },
        { shown: ["1", "…", "9"], text: "class", keys: classes },
        { shown: ["E", "Shift + E"], text: "add, take away at the crosshair", keys: { e: () => act.click(true), "shift+e": () => act.click(false) } },
        { shown: ["Enter", "Esc"], text: "segment inside the box, drop it", keys: { enter: act.applyBox, escape: act.cancel } },
        { shown: [",", "."], text: "thinner, thicker brush", keys: { ",": () => act.brush(-1), ".": () => act.brush(1) } },
        { shown: ["A"], text: "automatic prediction", keys: { a: () => act.press("automatic") } },
        {
          shown: ["Ctrl + Z", "Ctrl + Y"],
          text: "undo, redo",
          keys: { "ctrl+z": () => act.press("undo"), "ctrl+y": () => act.press("redo"), "ctrl+shift+z": () => act.press("redo") },
        },
      ],
    },
    {
      title: "View",
      rows: [
        {
          shown: ["← → ↑ ↓"],
          text: "crosshair in the plane last under the mouse",
          keys: {
            arrowleft: () => act.walk(-1, 0, 0),
            arrowright: () => act.walk(1, 0, 0),
            arrowup: () => act.walk(0, 1, 0),
            arrowdown: () => act.walk(0, -1, 0),
          },
        },
        { shown: ["Page ↑", "Page ↓"], text: "slices of that plane", keys: { pageup: () => act.walk(0, 0, 1), pagedown: () => act.walk(0, 0, -1) } },
        { shown: ["V"], text: "planes and 3D, one plane, 3D", keys: { v: () => act.next("layout") } },
        { shown: ["N"], text: "next channel", keys: { n: () => act.next("channel") } },
        { shown: ["W"], text: "window back to automatic", keys: { w: () => act.press("window-auto") } },
        { shown: ["H", "[", "]"], text: "hide the mask, fainter, stronger", keys: { h: act.hide, "[": () => act.fade(-0.1), "]": () => act.fade(0.1) } },
        {
          shown: ["+", "−", "0"],
          text: "zoom in, out, whole image",
          keys: { "+": () => act.zoom(1.2), "=": () => act.zoom(1.2), "-": () => act.zoom(1 / 1.2), 0: () => act.zoom(0) },
        },
      ],
    },
    {
      title: "Files",
      rows: [
        { shown: ["O"], text: "open", keys: { o: () => act.press("open") } },
        { shown: ["Ctrl + S"], text: "save the mask", keys: { "ctrl+s": () => act.press("save-mask") } },
        { shown: ["Ctrl + P"], text: "save the prompts", keys: { "ctrl+p": () => act.press("save-prompts") } },
        { shown: ["?"], text: "this help", keys: { "?": () => act.press("help-button") } },
      ],
    },
  ];
}
