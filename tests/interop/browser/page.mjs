// The page's side: a global Worker as browsers have it, on top of worker_threads, so that the published packages can be
// imported unchanged. The worker's script comes out of the package as a blob URL and is evaluated in worker.mjs.
import { resolveObjectURL } from 'node:buffer';
import { webcrypto } from 'node:crypto';
import { Worker as Thread } from 'node:worker_threads';

globalThis.crypto ??= webcrypto;

export function installWorker(api) {
  globalThis.Worker = class extends EventTarget {
    #thread;
    #early = [];

    constructor(url) {
      super();
      resolveObjectURL(String(url)).text().then((source) => {
        this.#thread = new Thread(new URL('./worker.mjs', import.meta.url), { workerData: { source, api } });
        this.#thread.on('message', (data) => this.dispatchEvent(new MessageEvent('message', { data })));
        this.#thread.on('error', (error) => {
          console.log(`the worker failed: ${error?.stack ?? error}`);
          this.dispatchEvent(new ErrorEvent(error));
        });
        this.#thread.on('exit', (code) => console.log(`the worker ended: ${code}`));
        for (const [message, transfer] of this.#early) this.#thread.postMessage(message, transfer);
      });
    }

    postMessage(message, transfer) {
      if (this.#thread) this.#thread.postMessage(message, transfer);
      else this.#early.push([message, transfer]);
    }

    terminate() {
      return this.#thread?.terminate();
    }
  };
}

class ErrorEvent extends Event {
  constructor(error) {
    super('error');
    this.error = error;
  }
}
