// Every key of the page, in one list: it is both what happens and the help.

export class Keyboard {
  /** shortcuts: [{keys: ["C"], text, action}]; keys as KeyboardEvent.key, with "Ctrl+" and "Shift+" before. */
  constructor(shortcuts) {
    this.actions = new Map(shortcuts.flatMap(({ keys, action }) => keys.map((key) => [key.toLowerCase(), action])));
    window.addEventListener("keydown", (event) => this.#press(event));
  }

  #press(event) {
    if (event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("input:not([type=range], [type=checkbox]), select, textarea");
    const onButton = event.target.matches("button, [role=radio], input") && [" ", "Enter"].includes(event.key);
    const onSlider = event.target.matches("[type=range], [role=radio]") && event.key.startsWith("Arrow");
    if (typing || onButton || onSlider) return;
    const control = event.ctrlKey || event.metaKey ? "ctrl+" : "";
    const shift = event.shiftKey && (control || event.key.length > 1 || /[a-z]/i.test(event.key)) ? "shift+" : "";
    const action = this.actions.get(control + shift + event.key.toLowerCase());
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action(event);
  }
}

/** The help as elements: groups of mouse gestures and of keys. */
export function helpColumns(groups) {
  return groups.map(({ title, rows }) => {
    const section = document.createElement("section");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const { keys, text } of rows) {
      const term = document.createElement("dt");
      keys.forEach((key) => {
        const cap = document.createElement("kbd");
        cap.textContent = key;
        term.append(cap);
      });
      const description = document.createElement("dd");
      description.textContent = text;
      list.append(term, description);
    }
    section.append(heading, list);
    return section;
  });
}
