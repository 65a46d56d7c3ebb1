/*
 * GitHub's own OpenAPI description as judge: of the requests that reach the fake (--validate), and in the fake's
 * tests of its answers and webhooks. Schemas are compiled when first needed, each with the components it reaches.
 * Needs the development dependencies; only imported when asked for.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';

const COMPONENT = /^#\/components\/schemas\/([^/]+)$/;

/** Where the description errs: there an account must be a user and an enterprise at once. */
const CORRECTED = {
  'apps/list-installations 200': { type: 'array', items: { $ref: '#/components/schemas/installation' } },
};

const CONVERTED = new Set(['integer', 'number', 'boolean']);

/**
 * OpenAPI 3.0 to JSON Schema: `nullable` becomes a choice with null, since ajv knows it only beside `type` and
 * would still refuse null by an `enum`. Examples and other remarks are left out.
 */
function toJsonSchema(node) {
  if (Array.isArray(node)) return node.map(toJsonSchema);
  if (node === null || typeof node !== 'object') return node;
  const { nullable, example, examples, ...rest } = node;
  const converted = Object.fromEntries(Object.entries(rest).map(([key, value]) => [
    key, key === 'properties' ? convertProperties(value) : toJsonSchema(value),
  ]));
  return nullable === true ? { anyOf: [{ type: 'null' }, converted] } : converted;
}

/** Members may be called `nullable` or `example` themselves, so the map of members is no schema. */
function convertProperties(properties) {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, toJsonSchema(schema)]));
}

export class Validator {
  constructor(document) {
    this.document = document;
    this.ajv = new Ajv({ strict: false, allErrors: true, validateFormats: true });
    addFormats(this.ajv);
    this.ajv.addFormat('repo.nwo', true);
    this.compiled = new Map();
    this.operations = new Map();
    for (const [path, item] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if (operation.operationId) this.operations.set(operation.operationId, { path, method: method.toUpperCase(), ...operation });
      }
    }
  }

  resolve(node) {
    let current = node;
    while (current?.$ref) {
      current = current.$ref.slice(2).split('/').reduce((at, key) => at[key], this.document);
    }
    return current;
  }

  /** A schema that stands alone: with every component it reaches. */
  standalone(schema) {
    const schemas = {};
    const visit = (node) => {
      if (Array.isArray(node)) node.forEach(visit);
      if (node === null || typeof node !== 'object') return;
      const [, name] = COMPONENT.exec(node.$ref ?? '') ?? [];
      if (name && !schemas[name]) {
        schemas[name] = toJsonSchema(this.document.components.schemas[name]);
        visit(schemas[name]);
      }
      Object.values(node).forEach(visit);
    };
    const converted = toJsonSchema(schema);
    visit(converted);
    return { allOf: [converted], components: { schemas } };
  }

  check(key, schema, value, what) {
    if (!this.compiled.has(key)) this.compiled.set(key, this.ajv.compile(this.standalone(schema)));
    const validate = this.compiled.get(key);
    if (validate(value)) return [];
    return validate.errors.map((error) => `${what}${error.instancePath} ${error.message}`);
  }

  operation(operationId) {
    const operation = this.operations.get(operationId);
    if (!operation) throw new Error(`no operation ${operationId} in the OpenAPI description`);
    return operation;
  }

  /** The problems of a request; an empty list when it conforms. */
  request({ route, params, query, body, request }) {
    if (!route.operationId) return []; // only Enterprise Cloud's description has it
    const operation = this.operation(route.operationId);
    const problems = [];
    const known = new Set();
    for (const parameter of operation.parameters ?? []) {
      const { name, in: place, schema, required } = this.resolve(parameter);
      if (place !== 'path' && place !== 'query') continue;
      known.add(`${place} ${name}`);
      const text = place === 'path' ? params[name] : query.get(name);
      if (name === 'created') continue; // a search, as the documentation says, which the description takes for a time
      if (text === null || text === undefined) {
        if (required) problems.push(`${place} ${name} is missing`);
        continue;
      }
      problems.push(...this.check(`${route.operationId} ${place} ${name}`, schema, this.convert(schema, text), `${place} ${name}`));
    }
    for (const name of query.keys()) if (!known.has(`query ${name}`)) problems.push(`query ${name} is unknown`);
    return [...problems, ...this.requestBody(route.operationId, operation, body, request)];
  }

  /** Parameters arrive as text; a number written as one is taken for a number. */
  convert(schema, text) {
    const { type } = this.resolve(schema);
    if (!CONVERTED.has(type)) return text;
    if (type === 'boolean') return { true: true, false: false }[text] ?? text;
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  }

  requestBody(operationId, operation, body, request) {
    const described = this.resolve(operation.requestBody);
    if (!described) return body === undefined ? [] : ['a body is not expected'];
    if (body === undefined) return described.required ? ['the body is missing'] : [];
    const type = request.headers['content-type'];
    const problems = type && !/^application\/(vnd\.github(\.v3)?\+)?json\b/.test(type) ? [`content-type ${type} is not JSON`] : [];
    return [...problems, ...this.check(`${operationId} body`, described.content['application/json'].schema, body, 'body')];
  }

  /** The problems of an answer; a status that the description does not list is one only when it is a success. */
  response(operationId, status, body) {
    const described = this.resolve(this.operation(operationId).responses[status]);
    if (!described) return status < 300 ? [`status ${status} is not described`] : [];
    const schema = CORRECTED[`${operationId} ${status}`] ?? described.content?.['application/json']?.schema;
    if (!schema) return body === undefined || body === '' || described.content ? [] : ['a body is not described'];
    return this.check(`${operationId} ${status}`, schema, body, 'answer');
  }

  /** The problems of a webhook's body; `name` is as in the description, such as workflow-job-queued. */
  webhook(name, body) {
    const { post } = this.document['x-webhooks'][name];
    return this.check(`webhook ${name}`, post.requestBody.content['application/json'].schema, body, 'payload');
  }
}

export async function loadValidator() {
  const file = createRequire(import.meta.url).resolve('@octokit/openapi/package.json').replace(/package\.json$/, 'generated/api.github.com.json');
  return new Validator(JSON.parse(await fs.promises.readFile(file, 'utf8')));
}
