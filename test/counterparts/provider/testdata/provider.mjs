// The certified OpenID Connect provider on 127.0.0.1, led over a second port.
//
//	node provider.mjs NODE_MODULES PORT CONTROL_PORT
//
// A POST to the control port brings one command as JSON, and is answered with {"issuer": "...", "kids": {"RS256": ...}}:
// the kids of the keys that sign from now on.
//
//	{"do": "clients", "clients": [{"id": "...", "secret": "...", "alg": "RS256", "audience": "...", "claims": {...}}]}
//	{"do": "announce"}  new keys are published; the old ones go on signing
//	{"do": "adopt"}     the newest keys sign; all stay published
//	{"do": "retire"}    only the newest keys stay, and sign
//	{"do": "rotate"}    every key is replaced at once
//	{"do": "swap"}      the same, under the kids of the old ones
//	{"do": "play", "how": "well" | "away" | "hang" | "html" | "stranger" | "empty"}
//
// It ends when whoever started it has ended.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, port, control] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(join(modules, 'oidc-provider', 'lib', 'index.js')));

const issuer = `http://127.0.0.1:${port}`;
const resource = 'urn:rolegate:test'; // what tokens are for, where a client does not say
const kinds = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }], EdDSA: ['ed25519'] };
let generation = 0;

function newKeys() {
  generation += 1;
  return Object.entries(kinds).map(([alg, kind]) => ({
    ...generateKeyPairSync(...kind).privateKey.export({ format: 'jwk' }),
    alg, use: 'sig', kid: `${alg}-${generation}`,
  }));
}

function configuration(clients, keys) {
  const byID = new Map(clients.map((c) => [c.id, c]));
  return {
    clients: clients.map((c) => ({
      client_id: c.id, client_secret: c.secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    })),
    clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
    cookies: { keys: ['not used'] },
    extraTokenClaims: (ctx, token) => byID.get(token.clientId).claims,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: (ctx, indicator, client) => ({
          scope: 'openid',
          audience: byID.get(client.clientId).audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: byID.get(client.clientId).alg } },
        }),
      },
    },
    jwks: { keys },
    ttl: { ClientCredentials: 3600 },
  };
}

const send = (res, type, text) => { res.setHeader('Content-Type', type); res.end(text); };
const html = (req, res) => send(res, 'text/html', '<!doctype html><title>Maintenance</title>');
// json answers with a document of one's own where the path is that of the discovery or of the key set.
const json = (path, doc, other) => (req, res) => {
  if (!req.url.startsWith(path)) return other(req, res);
  send(res, 'application/json', JSON.stringify(doc));
};
const well = (req, res) => handle(req, res);
const plays = {
  well,
  hang: () => {},
  html,
  stranger: json('/.well-known/', { issuer: 'http://127.0.0.1:1', jwks_uri: `${issuer}/keys` }, html),
  empty: json('/jwks', { keys: [] }, well),
};

let clients = [];
let keys = newKeys(); // the first three sign
let handle; // requests go to the provider of the moment
let how = 'well';
const server = createServer((req, res) => plays[how](req, res));
const open = () => new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
const shut = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });

const commands = {
  clients: (c) => { clients = c.clients; },
  announce: () => { keys = [...keys, ...newKeys()]; },
  adopt: () => { keys = [...keys.slice(-3), ...keys.slice(0, -3)]; },
  retire: () => { keys = keys.slice(0, 3); },
  rotate: () => { keys = newKeys(); },
  swap: () => { keys = newKeys().map((k, n) => ({ ...k, kid: keys[n].kid })); },
  play: async (c) => {
    if (c.how !== 'away' && !plays[c.how]) throw new Error(`no play ${c.how}`);
    if (how === 'away' && c.how !== 'away') await open();
    if (how !== 'away' && c.how === 'away') await shut();
    how = c.how;
    if (how === 'well') server.closeAllConnections(); // those that hang
  },
};

async function obey(req, res) {
  let text = '';
  for await (const part of req) text += part;
  try {
    const command = JSON.parse(text);
    await commands[command.do](command);
    if (command.do !== 'play') handle = new Provider(issuer, configuration(clients, keys)).callback();
    res.end(JSON.stringify({ issuer, kids: Object.fromEntries(keys.slice(0, 3).map((k) => [k.alg, k.kid])) }));
  } catch (err) {
    res.writeHead(500).end(String(err.stack));
  }
}

await open();
createServer(obey).listen(control, '127.0.0.1');
const parent = process.ppid;
setInterval(() => { if (process.ppid !== parent) process.exit(0); }, 1000);
