// What the page asks its server. Every failure becomes an Error whose message is a sentence to show.

const KEY = "msam-api-key";

const HEARTBEAT = 20_000; // ms

export class KeyNeeded extends Error {}

class SessionGone extends Error {}

export class Server {
  constructor() {
    this.key = sessionStorage.getItem(KEY) || "";
    this.lease = "";
  }

  useKey(key) {
    this.key = key;
    sessionStorage.setItem(KEY, key);
  }

  info() {
    return this.#json("GET", "/page/api/info");
  }

  /** Send the channels of one image, then say that they are all; once more if the session ended meanwhile.
   *  progress: called with shares 0 to 1. */
  async open(name, files, progress) {
    try {
      return await this.#send(name, files, progress);
    } catch (error) {
      if (!(error instanceof SessionGone)) throw error;
      return this.#send(name, files, progress);
    }
  }

  status() {
    return this.#json("GET", "/page/api/status");
  }

  startAutomatic() {
    return this.#json("POST", "/page/api/automatic");
  }

  /** Each returns {box, block, seconds, …}: the labels that changed; box is null where none did. */
  prompt(prompt) {
    return this.#block("POST", "/page/api/prompt", prompt);
  }

  undo() {
    return this.#block("POST", "/page/api/undo");
  }

  redo() {
    return this.#block("POST", "/page/api/redo");
  }

  reset() {
    return this.#block("POST", "/page/api/reset");
  }

  changes() {
    return this.#block("POST", "/page/api/changes");
  }

  async file(path) {
    const response = await this.#fetch("GET", path);
    return response.blob();
  }

  leave() {
    if (this.lease) fetch("/release", { method: "POST", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  async #send(name, files, progress) {
    this.lease ||= (await this.#json("POST", "/claim")).lease_token;
    this.beating ||= setInterval(() => this.lease && this.#json("POST", "/heartbeat").catch(() => {}), HEARTBEAT);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    let sent = 0;
    for (const [channel, file] of files.entries()) {
      await this.#upload(`/page/api/image/${channel}`, file, (bytes) => progress((sent + bytes) / Math.max(total, 1)));
      sent += file.size;
    }
    return this.#json("POST", "/page/api/open", { name });
  }

  #headers() {
    const headers = {};
    if (this.key) headers["Authorization"] = `Bearer ${this.key}`;
    if (this.lease) headers["X-Lease-Token"] = this.lease;
    return headers;
  }

  async #fetch(method, path, body) {
    const headers = this.#headers();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch {
      throw new Error("The server does not answer. Is msam serve still running?");
    }
    if (!response.ok) throw await this.#error(response.status, await response.text());
    return response;
  }

  async #json(method, path, body) {
    return (await this.#fetch(method, path, body)).json();
  }

  async #block(method, path, body) {
    const response = await this.#fetch(method, path, body);
    const block = new Uint8Array(await response.arrayBuffer());
    return { ...JSON.parse(response.headers.get("X-Meta")), block };
  }

  /** XMLHttpRequest, because fetch tells nothing of how far an upload is. */
  #upload(path, file, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", path);
      for (const [name, value] of Object.entries(this.#headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => progress(event.loaded);
      request.onerror = () => reject(new Error(`${file.name} could not be sent: the connection broke.`));
      request.onload = () =>
        request.status === 200 ? resolve() : reject(this.#error(request.status, request.responseText));
      request.send(file);
    });
  }

  #error(status, text) {
    if (status === 401) return new KeyNeeded("The server asks for its API key.");
    if (status === 410) {
      this.lease = "";
      return new SessionGone("The session ended, because nothing was done for a long time. Open the image again.");
    }
    let detail;
    try {
      detail = JSON.parse(text).detail;
    } catch {
      detail = undefined;
    }
    if (status === 503) return new Error("All sessions of this server are in use. Try again when one is free.");
    return new Error(typeof detail === "string" ? detail : `The server answered with an error (${status}).`);
  }
}
