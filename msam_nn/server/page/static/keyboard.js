// Keys to actions, and the same list as help.

export class Keyboard {
  /** groups: see shortcuts.js. */
  constructor(groups) {
    this.actions = Object.assign({}, ...groups.flatMap(({ rows }) => rows.map(({ keys }) => keys)));
    window.addEventListener("keydown", (event) => this.#press(event));
  }

  #press(event) {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=range], [type=checkbox]), select, textarea");
    const onButton = event.target.matches("button, input") && [" ", "Enter"].includes(event.key);
    const onSlider = event.target.matches("[type=range], [role=radio]") && event.key.startsWith("Arrow");
    if (typing || onButton || onSlider) return;
    const control = event.ctrlKey || event.metaKey ? "ctrl+" : "";
    const shift = event.shiftKey && /^[a-z]$/i.test(event.key) ? "shift+" : "";
    const action = this.actions[control + shift + event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }
}

/** The help as elements. */
export function helpColumns(groups) {
  return groups.map(({ title, rows }) => {
    const section = document.createElement("section");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const { shown, text } of rows) {
      const term = document.createElement("dt");
      for (const key of shown) {
        const cap = document.createElement("kbd");
        cap.textContent = key;
        term.append(cap);
      }
      const description = document.createElement("dd");
      description.textContent = text;
      list.append(term, description);
    }
    section.append(heading, list);
    return section;
  });
}
