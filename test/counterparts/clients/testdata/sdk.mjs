// One job done with the TypeScript SDK. It prints one line of JSON: what the client saw, or {"failure": "..."}.
//
//	node sdk.mjs NODE_MODULES one|two|modern URL JOB [COUNT]   with the token, or several with spaces between, in $TOKEN
//
// one is @modelcontextprotocol/sdk, two is @modelcontextprotocol/client, modern is the latter in the era of 2026-07-28.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, generation, url, job, count] = process.argv.slice(2);
const tokens = process.env.TOKEN.split(' ');
const limit = 25_000; // ms, of a call
const load = (...path) => import(pathToFileURL(join(modules, '@modelcontextprotocol', ...path)));
const { Client, StreamableHTTPClientTransport } = generation === 'one'
  ? { ...await load('sdk', 'dist', 'esm', 'client', 'index.js'), ...await load('sdk', 'dist', 'esm', 'client', 'streamableHttp.js') }
  : await load('client', 'dist', 'index.mjs');

async function connect(token = tokens[0]) {
  const client = new Client({ name: 'test', version: '1' },
    generation === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {});
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
    reconnectionOptions: { initialReconnectionDelay: 50, maxReconnectionDelay: 500, reconnectionDelayGrowFactor: 1.5, maxRetries: 20 },
  });
  await client.connect(transport);
  return { client, transport };
}

// call gives the text that a tool answers with.
async function call({ client }, name, args, options = {}) {
  const given = { timeout: limit, ...options };
  const params = { name, arguments: args };
  const result = await (generation === 'one' ? client.callTool(params, undefined, given) : client.callTool(params, given));
  const text = result.content.map((c) => c.text ?? c.type).join('');
  if (result.isError) throw new Error(text);
  return text;
}

const hash = (text) => createHash('sha256').update(text).digest('hex');

const jobs = {
  // The everything-server of the Go SDK, or any other: connect, list, call.
  async journey() {
    const session = await connect();
    const { tools } = await session.client.listTools();
    const text = await call(session, count, {});
    const server = session.client.getServerVersion()?.name;
    await session.client.close();
    return { server, tools: tools.map((t) => t.name), text };
  },

  // Each notification is answered by a call before the next is sent: one that is held back holds everything.
  async steps() {
    const session = await connect();
    const seen = [];
    const answers = [];
    const text = await call(session, 'steps', { count: Number(count) }, {
      onprogress: (p) => { seen.push(p.progress); answers.push(call(session, 'next', {})); },
    });
    await Promise.all(answers);
    await session.client.close();
    return { text, seen };
  },

  async burst() {
    const session = await connect();
    const seen = [];
    const text = await call(session, 'burst', { count: Number(count) }, { onprogress: (p) => { seen.push(p.progress); } });
    await session.client.close();
    return { text, seen };
  },

  async cancel() {
    const session = await connect();
    const stop = new AbortController();
    let stopped;
    const running = call(session, 'hang', {}, {
      signal: stop.signal,
      onprogress: () => { stopped = Date.now(); stop.abort(); },
    });
    const failure = await running.then(() => 'none', (err) => String(err));
    const text = await call(session, 'echo', { text: 'after' });
    await session.client.close();
    return { stopped, failure, text };
  },

  async remove() {
    const session = await connect();
    const text = await call(session, 'echo', { text: 'before' });
    const id = session.transport.sessionId;
    await session.transport.terminateSession();
    const again = await fetch(url, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${tokens[0]}`, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Mcp-Session-Id': id,
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    });
    await session.client.close();
    return { text, id, left: session.transport.sessionId ?? '', again: again.status };
  },

  // A text of COUNT bytes up and down, of one to four bytes a letter and what JSON escapes.
  async bodies() {
    const session = await connect();
    const unit = 'é€𝄞"\\\n\u2028<'; // 16 bytes of UTF-8
    const sent = unit.repeat(Number(count) / Buffer.byteLength(unit));
    const back = await call(session, 'echo', { text: sent });
    const down = await call(session, 'size', { count: Number(count) });
    await session.client.close();
    return { bytes: Buffer.byteLength(sent), same: back === sent, sent: hash(sent), down: down.length, plain: /^x*$/.test(down) };
  },

  // COUNT clients at once, each with texts and notifications of its own.
  async sessions() {
    const one = async (n) => {
      const session = await connect(tokens[n % tokens.length]);
      const wrong = [];
      const seen = [];
      for (let i = 0; i < 5; i += 1) {
        const texts = await Promise.all([0, 1, 2].map((k) => call(session, 'echo', { text: `${n}-${i}-${k}` })));
        texts.forEach((text, k) => { if (text !== `${n}-${i}-${k}`) wrong.push(text); });
      }
      await call(session, 'burst', { count: 10 + n }, { onprogress: (p) => { seen.push(p.progress); } });
      if (seen.length !== 10 + n) wrong.push(`${seen.length} notifications of ${10 + n}`);
      const id = session.transport.sessionId ?? '';
      return { id, wrong, close: () => session.client.close() };
    };
    const all = await Promise.all(Array.from({ length: Number(count) }, (_, n) => one(n)));
    await Promise.all(all.map((s) => s.close()));
    return { ids: all.map((s) => s.id), wrong: all.flatMap((s) => s.wrong) };
  },
};

// A stream that has been cut is the transport's to resume; the program only looks at what arrives.
jobs.resume = jobs.burst;

try {
  console.log(JSON.stringify(await jobs[job]()));
} catch (err) {
  console.log(JSON.stringify({ failure: `${err.stack} ${err.cause ?? ''}` }));
}
process.exit(0);
