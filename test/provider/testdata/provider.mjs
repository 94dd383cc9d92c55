// The certified OpenID Connect provider on a free port of 127.0.0.1, led by lines on stdin.
//
//	node provider.mjs NODE_MODULES
//
// The first line holds the clients: [{"id": "...", "secret": "...", "alg": "RS256", "audience": "...", "claims": {...}}].
// "rotate" replaces every key at once. Each line is answered with {"issuer": "...", "kids": {"RS256": "...", ...}}.
// The end of stdin ends the process, so that it can't outlive a test.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { Provider } = await import(pathToFileURL(join(process.argv[2], 'oidc-provider', 'lib', 'index.js')));

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

let handle; // requests go to the provider of the moment
const server = createServer((req, res) => handle(req, res));
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const issuer = `http://127.0.0.1:${server.address().port}`;

let clients;
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'rotate') clients = JSON.parse(line);
  const keys = newKeys();
  handle = new Provider(issuer, configuration(clients, keys)).callback();
  console.log(JSON.stringify({ issuer, kids: Object.fromEntries(keys.map((k) => [k.alg, k.kid])) }));
}
process.exit(0);
