// Answers for Cedar's own engine: one line of JSON in, one out, in order. A line {"staticPolicies": ...} is the policy set
// of all questions after it; each of those is a StatefulAuthorizationCall of @cedar-policy/cedar-wasm. The argument is
// the node_modules folder that holds the engine.
'use strict';
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const { preparsePolicySet, statefulIsAuthorized } = createRequire(process.argv[2] + '/')('@cedar-policy/cedar-wasm/nodejs');

// The engine takes an object, and at once has it written as JSON, which it reads by itself. Numbers of JavaScript lose
// digits beyond 2^53, so what is written is the question's own text.
class Text {
  constructor(json) {
    this.json = json;
  }
}
const { stringify } = JSON;
JSON.stringify = (value, ...rest) => (value instanceof Text ? value.json : stringify(value, ...rest));

(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      const text = new Text(line);
      answer = line.startsWith('{"staticPolicies"') ? preparsePolicySet('policies', text) : statefulIsAuthorized(text);
    } catch (e) {
      answer = { type: 'failure', errors: [{ message: String(e) }] };
    }
    process.stdout.write(stringify(answer) + '\n');
  }
})();
