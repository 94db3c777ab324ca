// The image that is open: sends prompts one after the other, keeps what was done, brings back the mask.

const POLL = 250; // ms
const DOING = { preparing: "Preparing the image", predicting: "Predicting" };

export class Session {
  /** onChange: something to show has changed. onError: called with an Error. onProgress: called with a status or null. */
  constructor(server, viewer, { onChange, onError, onProgress }) {
    Object.assign(this, { server, viewer, onChange, onError, onProgress });
    this.name = "";
    this.followed = []; // {prompt, took, seconds, undone} as on the server, oldest first; took: until the mask was drawn
    this.waiting = []; // {prompt, waiting}: on their way to the server, in this order
    this.can = { undo: false, redo: false };
    this.busy = 0;
    this.queue = Promise.resolve();
    this.leaving = false;
  }

  get isOpen() {
    return Boolean(this.name);
  }

  /** What was done and what is on its way, oldest first. */
  get steps() {
    return [...this.followed, ...this.waiting];
  }

  /** Clicks that hold now, for the marks. */
  get clicks() {
    return this.steps
      .filter(({ prompt, undone }) => prompt.kind === "point" && !undone)
      .map(({ prompt, waiting }) => ({ voxel: prompt.voxel, positive: prompt.positive, waiting }));
  }

  /** Another image comes: prompts that wait are dropped, and the one on its way is waited for. */
  async leave() {
    this.leaving = true;
    await this.queue;
    this.leaving = false;
  }

  async open(name, files) {
    this.name = "";
    try {
      await this.server.open(name, files, (progress) => this.onProgress({ message: "Sending the image", progress }));
    } finally {
      this.onProgress(null);
    }
    this.name = name;
    this.followed = [];
    this.can = { undo: false, redo: false };
    this.onChange();
    this.#watch().catch(this.onError);
  }

  prompt(prompt) {
    return this.#do(
      () => this.server.prompt(prompt),
      ({ done, took, seconds }) => {
        if (done) this.followed = [...this.followed.filter(({ undone }) => !undone), { prompt, took, seconds }];
      },
      prompt,
    );
  }

  undo() {
    return this.#do(() => this.server.undo(), ({ done }) => {
      const last = this.followed.findLast(({ undone, prompt }) => !undone && prompt.kind !== "automatic");
      if (done && last) last.undone = true;
    });
  }

  redo() {
    return this.#do(() => this.server.redo(), ({ done }) => {
      const next = this.followed.find(({ undone }) => undone);
      if (done && next) next.undone = false;
    });
  }

  reset() {
    return this.#do(() => this.server.reset(), () => (this.followed = this.followed.filter(({ prompt }) => prompt.kind === "automatic")));
  }

  /** Predict without prompts; those there are will be forgotten. */
  automatic() {
    const prompt = { kind: "automatic" };
    return this.#do(
      async () => {
        await this.server.startAutomatic();
        await this.#watch();
        return this.leaving ? null : this.server.changes();
      },
      ({ took }) => (this.followed = [{ prompt, took }]),
      prompt,
    );
  }

  /** Show what the server works on until it is ready. */
  async #watch() {
    try {
      for (;;) {
        const status = await this.server.status();
        if (this.leaving) return;
        if (status.message) throw new Error(status.message);
        if (status.state === "ready" || status.state === "empty") return;
        this.onProgress({ message: DOING[status.state], progress: status.progress });
        await new Promise((resolve) => setTimeout(resolve, POLL));
      }
    } finally {
      this.onProgress(null);
    }
  }

  /** prompt: one that is shown while it waits. */
  #do(ask, onDone, prompt) {
    const waits = { prompt, waiting: true };
    if (prompt) this.waiting = [...this.waiting, waits];
    this.busy++;
    this.onChange();
    this.queue = this.queue.then(async () => {
      try {
        const start = performance.now();
        const answer = this.leaving ? null : await ask();
        if (!answer) return;
        if (answer.box) this.viewer.mask.write(answer.box, answer.block);
        answer.took = (performance.now() - start) / 1000;
        this.can = { undo: answer.can_undo, redo: answer.can_redo };
        onDone(answer);
      } catch (error) {
        this.onError(error);
      } finally {
        this.waiting = this.waiting.filter((other) => other !== waits);
        this.busy--;
        this.onChange();
      }
    });
    return this.queue;
  }
}
