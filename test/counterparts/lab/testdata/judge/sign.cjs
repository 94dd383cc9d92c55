// Signs requests again, so that somebody can compare: one JSON request on a line in, one JSON answer on a line out, in
// order. The argument is the node_modules folder that holds @smithy/signature-v4.
'use strict';
const { createHash, createHmac } = require('node:crypto');
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const { SignatureV4 } = createRequire(process.argv[2] + '/')('@smithy/signature-v4');

class Sha256 {
  constructor(secret) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  }
  update(bytes) {
    this.hash.update(bytes);
  }
  async digest() {
    return new Uint8Array(this.hash.digest());
  }
}

// query reads a raw query: each name with all of its values. '+' is a space, as in a form.
function query(raw) {
  const text = (s) => decodeURIComponent(s.replaceAll('+', ' '));
  const bag = Object.create(null);
  for (const pair of raw.split('&').filter(Boolean)) {
    const cut = pair.indexOf('=');
    const name = text(cut < 0 ? pair : pair.slice(0, cut));
    (bag[name] ??= []).push(cut < 0 ? '' : text(pair.slice(cut + 1)));
  }
  return { ...bag };
}

async function sign(r) {
  const signer = new SignatureV4({
    service: r.service,
    region: r.region,
    sha256: Sha256,
    credentials: { accessKeyId: r.accessKeyID, secretAccessKey: r.secretAccessKey, sessionToken: r.sessionToken },
  });
  const request = { method: r.method, protocol: 'http:', hostname: '', path: r.path, query: query(r.query), headers: r.headers };
  const signed = await signer.sign(request, { signingDate: new Date(r.date), signableHeaders: new Set(Object.keys(r.headers)) });
  return signed.headers.authorization;
}

(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { authorization: await sign(JSON.parse(line)) };
    } catch (e) {
      answer = { error: String(e) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
})();
