/* Puts the parts together. Faces: /_fake/ (control), paths (metadata), forms (STS), X-Amz-Target (all else). */
import { AwsControl } from '../../lib/aws_control.mjs';
import { Keys, judge } from '../../lib/aws_keys.mjs';
import { AwsFaults, AwsService } from '../../lib/aws_service.mjs';
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { Metadata } from './metadata.mjs';
import { options } from './options.mjs';
import { Secrets } from './secrets.mjs';
import { Sts } from './sts.mjs';

/** Issues keys, and remembers which, for whom. */
class Vault {
  constructor({ config, keys, log }) {
    Object.assign(this, { config, keys, log, issued: new Map() });
  }

  issue(source, seconds, role) {
    const [, account] = /^arn:aws[a-z-]*:iam::(\d{12}):/.exec(role) ?? [];
    const made = this.keys.issue((this.config.credential_life_s || seconds) * 1000, account);
    this.issued.set(made.accessKeyId, { access_key_id: made.accessKeyId, source, role, expires_ms: made.expiresMs });
    this.log.write('key_issued', { access_key_id: made.accessKeyId, source, role, expires_ms: made.expiresMs });
    return made;
  }
}

class Service extends AwsService {
  constructor({ faces, ...parts }) {
    super(parts);
    Object.assign(this, { faces, protocol: 'json' });
  }

  find(call) {
    for (const face of this.faces) {
      const found = face.find(call);
      if (found) return found;
    }
    return null;
  }
}

export class FakeAws {
  constructor(config) {
    this.log = new Log(config.log);
    const { log } = this;
    this.keys = new Keys(config);
    const { keys } = this;
    const vault = new Vault({ config, keys, log });
    this.secrets = new Secrets({ config });
    const faults = new AwsFaults(new Random(config.seed));
    const faces = [new Metadata({ config, vault }), new Sts({ config, vault }), this.secrets];
    const service = new Service({
      config, log, faults, keys, faces, verify: judge(keys, 'sts'),
    });
    this.control = new AwsControl({ config, options, log, faults, service, keys });
    this.control.counters = () => ({ ...service.counts, issued: vault.issued.size });
    this.addRoutes(vault);
    this.server = new LoopbackServer({ port: config.port, log, control: this.control, route: (...call) => service.handle(...call) });
  }

  addRoutes(vault) {
    const { control, secrets, keys } = this;
    const put = (map) => ({ body: { name, ...rest } }) => {
      if (!name) throw new RangeError('it has a name');
      map.set(name, { name, ...rest });
      return {};
    };
    control.add('GET', '/keys', () => [...vault.issued.values()]);
    control.add('POST', '/revoke', ({ body }) => {
      vault.issued.forEach((_, id) => keys.revoke(id, body?.as));
      return { revoked: vault.issued.size };
    });
    control.add('POST', '/parameters', put(secrets.parameters));
    control.add('POST', '/secrets', put(secrets.secrets));
    control.add('POST', '/kms', ({ body }) => secrets.addKmsKey(body ?? {}));
    control.add('POST', '/quotas', ({ body: { service, code, value } }) => {
      secrets.quotas.set(`${service}/${code}`, value);
      return {};
    });
  }

  get url() {
    return this.server.url;
  }

  listen() {
    return this.server.listen();
  }

  stop() {
    return this.server.stop();
  }
}
