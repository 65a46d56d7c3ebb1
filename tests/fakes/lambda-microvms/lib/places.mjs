/*
 * The accounts and regions that the stand-in serves, each with its own quotas, images and VMs. Without --target there is one,
 * to which every call goes. With it a call goes to the region that its signature's scope names and to the account of its key,
 * which the session token of an assumed role holds; a key without one is the stand-in's own account's. What is not served
 * is refused as the service refuses a region that it is not in.
 */
import { OptionError } from '../../lib/options.mjs';
import { Router } from '../../lib/http.mjs';
import { Random } from '../../lib/random.mjs';
import { Api } from './api.mjs';
import { Fleet } from './fleet.mjs';
import { Images } from './images.mjs';
import { Quotas } from './quotas.mjs';

const SCOPE = /Credential=[^/,\s]+\/\d{8}\/([^/,\s]+)\//;
const TARGET = /^(\d{12})\/([a-z0-9-]+)((?:,[a-z_]+=[^,]+)*)$/;

/** One account and region. Its settings are the stand-in's, except those that its --target names. */
class Place {
  constructor({ parts, name, settings, seed, whole }) {
    this.name = name;
    this.config = Object.assign(Object.create(parts.config), settings);
    const { config } = this;
    const { log, faults } = parts;
    this.quotas = new Quotas(config);
    this.images = new Images(config);
    this.fleet = new Fleet({ config, log, quotas: this.quotas, faults, random: new Random(seed), target: name, whole });
    this.api = new Api({ config, fleet: this.fleet, images: this.images, log });
    this.router = new Router();
    this.api.addRoutes(this.router);
    this.answers = new Map();
    this.throttled = 0;
  }

  /** What each call was answered. */
  note(operation, { status, error = null }) {
    const key = `${operation} ${error ?? status}`;
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1);
    if (error === 'ThrottlingException') this.throttled += 1;
  }

  state() {
    const { account, region, memory_quota_mib: quota } = this.config;
    return {
      target: this.name, account, region, ...this.fleet.counts, throttled: this.throttled, memory_counted_mib: this.quotas.memoryMib,
      memory_counted_peak_mib: this.quotas.peakMib, memory_quota_mib: quota, known: this.fleet.list.length, answers: Object.fromEntries(this.answers),
    };
  }
}

function settingsOf(text, options) {
  const [, account, region, more] = TARGET.exec(text) ?? [];
  if (!account) throw new OptionError('--target is ACCOUNT/REGION[,OPTION=VALUE…]');
  const settings = { account, region };
  options.reconfigure(settings, Object.fromEntries(more.split(',').slice(1).map((pair) => pair.split('='))));
  return settings;
}

export class Places {
  /** `parts`: {config, log, faults, keys}. */
  constructor(parts, options) {
    const { config } = parts;
    this.keys = parts.keys;
    this.config = config;
    this.whole = { alive: 0, alive_peak: 0 };
    const wanted = config.target.length > 0 ? config.target.map((text) => settingsOf(text, options)) : [{}];
    /* Each source of chance has its own sequence, so that one more VM does not change which call fails. */
    this.all = wanted.map((settings, i) => new Place({
      parts, settings, name: settings.account ? `${settings.account}/${settings.region}` : null, seed: config.seed + 1 + i, whole: this.whole,
    }));
    this.byName = new Map(this.all.map((place) => [place.name, place]));
  }

  get first() {
    return this.all[0];
  }

  /** Where a call goes, or undefined. */
  of({ authorization = '', 'x-amz-security-token': token }) {
    if (this.config.target.length === 0) return this.first;
    const [, region] = SCOPE.exec(authorization) ?? [];
    return this.byName.get(`${this.keys.accountOf(token) ?? this.config.account}/${region ?? this.config.region}`);
  }

  /** The place that has a VM of that id. */
  withVm(id) {
    return this.all.find((place) => place.fleet.byId.has(id));
  }

  /** The sum of what each counts; of `alive_peak` the most at any time. */
  counters() {
    const sum = {};
    for (const { fleet, api } of this.all) {
      for (const [key, value] of [...Object.entries(fleet.counts), ...Object.entries(api.counts)]) sum[key] = (sum[key] ?? 0) + value;
    }
    const memory = this.all.reduce((total, { quotas }) => total + quotas.memoryMib, 0);
    return { ...sum, alive_peak: this.whole.alive_peak, memory_counted_mib: memory, known: this.all.reduce((total, { fleet }) => total + fleet.list.length, 0) };
  }
}
