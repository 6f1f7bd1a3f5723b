// The worker's side: what a dedicated worker of a browser offers, then the package's own script. `fetch` of the public
// directory goes to the lab's; WebSockets are real ones.
import { webcrypto } from 'node:crypto';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import 'fake-indexeddb/auto';
import WebSocket from 'ws';

const PUBLIC_API = 'https://validator.nymtech.net/api';

if (isMainThread) throw new Error('worker.mjs is started by page.mjs');

const realFetch = globalThis.fetch;
globalThis.crypto ??= webcrypto;
globalThis.self = globalThis;
globalThis.WorkerGlobalScope = class WorkerGlobalScope {};
Object.setPrototypeOf(globalThis, globalThis.WorkerGlobalScope.prototype);
globalThis.WebSocket = WebSocket;
globalThis.fetch = (input, init) => {
  const url = typeof input === 'string' ? input : input.url;
  if (!url.startsWith(PUBLIC_API)) throw new Error(`the client contacts ${url}`);
  return realFetch(workerData.api + url.slice(PUBLIC_API.length), { ...init, headers: input.headers ?? init?.headers });
};

// An exception in an event handler does not end a browser's worker. The module throws one from the close handler of
// every WebSocket it has dropped (spec 07 section 9.3); anything else is shown.
process.on('uncaughtException', (error) => {
  if (!/closure invoked recursively or after being dropped/.test(String(error?.message))) console.error(error);
});

const scope = new EventTarget();
globalThis.addEventListener = scope.addEventListener.bind(scope);
globalThis.removeEventListener = scope.removeEventListener.bind(scope);
globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);
parentPort.on('message', (data) => scope.dispatchEvent(new MessageEvent('message', { data })));

(0, eval)(workerData.source);
