// Drives the published client through a lab. Usage: node client.mjs JSON, with
//   {api, gateway, ipr, base, v6, echo, names, seconds}
// Prints one line per check: ok/not ok.
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { installWorker } from './page.mjs';

const job = JSON.parse(process.argv[2]);
installWorker(job.api);
const { setupMixTunnel, mixFetch, disconnectMixTunnel, getTunnelState } = await import('@nymproject/mix-fetch');
const { getMixTunnel, proxy } = await import('@nymproject/mix-tunnel');

let failed = 0;
async function check(name, test) {
  const start = Date.now();
  try {
    await Promise.race([test(), new Promise((_, no) => setTimeout(() => no(new Error('no answer in 90 s')), 90000).unref())]);
    console.log(`ok - ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`not ok - ${name}\n    ${String(error?.stack ?? error).replaceAll('\n', '\n    ')}`);
  }
}

const sha = (bytes) => createHash('sha256').update(Buffer.from(bytes)).digest('hex');
const state = async () => (await getTunnelState()).state;

async function fetched(url, init) {
  const response = await mixFetch(url, init);
  return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
}

await check('set-up reaches ready', async () => {
  await setupMixTunnel({
    preferredGateway: job.gateway, preferredIpr: job.ipr, forceTls: false, clientId: `lab-${process.pid}`,
    disablePoissonTraffic: job.fast, disableCoverTraffic: job.fast, primaryDns: '9.9.9.9:53', fallbackDns: '1.1.1.1:53',
  });
  assert.equal(await state(), 'ready');
});

await check('mixFetch: 19 bytes', async () => {
  const { status, body } = await fetched(`${job.base}/small`);
  assert.equal(status, 200);
  assert.equal(body.length, 19);
});

await check('mixFetch: 200 KB, unchanged', async () => {
  const { status, body } = await fetched(`${job.base}/large`);
  assert.equal(status, 200);
  assert.equal(sha(body), job.large);
});

await check('mixFetch: POST, echoed', async () => {
  const sent = 'x'.repeat(20000);
  const { status, body } = await fetched(`${job.echo}/post`, { method: 'POST', body: sent });
  assert.equal(status, 200);
  assert.equal(Buffer.from(body).toString(), sent);
});

await check('mixFetch: four in parallel', async () => {
  const all = await Promise.all([1, 2, 3, 4].map(() => fetched(`${job.base}/small`)));
  assert.deepEqual(all.map((one) => one.status), [200, 200, 200, 200]);
});

await check('mixFetch: over IPv6 by name', async () => {
  const { status, body } = await fetched(job.v6);
  assert.equal(status, 200);
  assert.equal(body.length, 19);
});

await check('mixFetch: https refuses a certificate of a lab CA', async () => {
  await assert.rejects(fetched(job.https), /invalid peer certificate|UnknownIssuer/);
});

await check('mixDNS resolves through the tunnel', async () => {
  const tunnel = await getMixTunnel();
  assert.equal(await tunnel.mixDNS('www.lab'), '198.18.0.1');
});

await check('mixWebSocket: echo', async () => {
  const tunnel = await getMixTunnel();
  await new Promise((done, no) => {
    const events = proxy((handle, type, data) => {
      if (type === 'open') tunnel.wsSend(handle, 'through the mixnet');
      if (type === 'message' || type === 'text') {
        tunnel.wsClose(handle, 1000, '');
        data === 'through the mixnet' ? done() : no(new Error(`got ${data}`));
      }
      if (type === 'error') no(new Error(String(data)));
    });
    tunnel.mixWebSocket(job.websocket, [], events).catch(no);
  });
});

if (job.seconds) {
  await check(`still works after ${job.seconds} s, across the topology refresh`, async () => {
    const end = Date.now() + job.seconds * 1000;
    while (Date.now() < end) await new Promise((done) => setTimeout(done, 5000));
    assert.equal((await fetched(`${job.base}/small`)).status, 200);
  });
}

await check('disconnect', async () => {
  await disconnectMixTunnel();
  assert.equal(await state(), 'shutdown');
});

process.exit(failed ? 1 : 0);
