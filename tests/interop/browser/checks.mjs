// What the published client must be able to do through a lab, in Node as in a browser. job: {api, gateway, ipr, base, v6,
// https, echo, websocket, large (SHA-256, hex), fast, seconds}. report(line) is called with "ok - name (seconds)" or
// "not ok - name" and details. Resolves to the number of checks that failed.

function equal(is, should) {
  const [a, b] = [JSON.stringify(is), JSON.stringify(should)];
  if (a !== b) throw new Error(`${a}, not ${b}`);
}

async function refuses(promise, pattern) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    if (pattern.test(String(error?.message ?? error))) return;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(result)}`);
}

async function sha(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

const after = (ms) => new Promise((done) => setTimeout(done, ms));

export async function runChecks(job, report) {
  const { setupMixTunnel, mixFetch, disconnectMixTunnel, getTunnelState } = await import('@nymproject/mix-fetch');
  const { getMixTunnel, proxy } = await import('@nymproject/mix-tunnel');
  let failed = 0;

  async function check(name, test, limit = 90) {
    const start = Date.now();
    try {
      await Promise.race([test(), after(limit * 1000).then(() => Promise.reject(new Error(`no answer in ${limit} s`)))]);
      report(`ok - ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      report(`not ok - ${name}\n    ${String(error?.stack ?? error).replaceAll('\n', '\n    ')}`);
    }
  }

  const state = async () => (await getTunnelState()).state;

  async function fetched(url, init) {
    const response = await mixFetch(url, init);
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
  }

  await check('set-up reaches ready', async () => {
    await setupMixTunnel({
      preferredGateway: job.gateway, preferredIpr: job.ipr, forceTls: false, clientId: `lab-${Date.now()}`,
      disablePoissonTraffic: job.fast, disableCoverTraffic: job.fast, primaryDns: '9.9.9.9:53', fallbackDns: '1.1.1.1:53',
    });
    equal(await state(), 'ready');
  });

  await check('mixFetch: 19 bytes', async () => {
    const { status, body } = await fetched(`${job.base}/small`);
    equal([status, body.length], [200, 19]);
  });

  await check('mixFetch: 200 KB, unchanged', async () => {
    const { status, body } = await fetched(`${job.base}/large`);
    equal([status, await sha(body)], [200, job.large]);
  });

  await check('mixFetch: POST, echoed', async () => {
    const sent = 'x'.repeat(20000);
    const { status, body } = await fetched(`${job.echo}/post`, { method: 'POST', body: sent });
    equal([status, new TextDecoder().decode(body)], [200, sent]);
  });

  await check('mixFetch: four in parallel', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => fetched(`${job.base}/small`)));
    equal(all.map((one) => one.status), [200, 200, 200, 200]);
  });

  await check('mixFetch: over IPv6 by name', async () => {
    const { status, body } = await fetched(job.v6);
    equal([status, body.length], [200, 19]);
  });

  await check('mixFetch: https refuses a certificate of a lab CA',
    () => refuses(fetched(job.https), /invalid peer certificate|UnknownIssuer/));

  await check('mixDNS resolves through the tunnel', async () => {
    const tunnel = await getMixTunnel();
    equal(await tunnel.mixDNS('dns.lab') /* not asked for before */, '198.18.0.1');
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
      await after(job.seconds * 1000);
      equal((await fetched(`${job.base}/small`)).status, 200);
    }, job.seconds + 90);
  }

  await check('disconnect', async () => {
    await disconnectMixTunnel();
    equal(await state(), 'shutdown');
  });
  return failed;
}
