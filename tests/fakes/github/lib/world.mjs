/*
 * Who exists: owners (organisations, each with one installation of the App and its runner groups) and
 * repositories. Names compare without regard to case, as GitHub's do.
 */
import { stableId } from './ids.mjs';

export const DEFAULT_PERMISSIONS = {
  actions: 'read',
  administration: 'write',
  metadata: 'read',
  organization_hooks: 'write',
  organization_self_hosted_runners: 'write',
  repository_hooks: 'write',
};

/** Group 2 is GitHub's own hosted runners: it is never listed, and registering into it is forbidden. */
export const HOSTED_GROUP_ID = 2;

function defaultGroup() {
  return {
    id: 1, name: 'Default', visibility: 'all', default: true, inherited: false,
    allows_public_repositories: false, repositories: [],
  };
}

export class World {
  constructor(config) {
    this.config = config;
    this.owners = new Map();
    this.repositories = new Map();
    this.permissions = { ...DEFAULT_PERMISSIONS };
    this.events = ['workflow_job'];
    this.ensureOwner(config.org);
    this.enterprise = config.enterprise === null ? null : {
      login: `enterprises/${config.enterprise}`, isEnterprise: true, groups: new Map([[1, defaultGroup()]]), nextGroupId: HOSTED_GROUP_ID + 1,
    };
    for (const name of config.repo) this.ensureRepository(name);
  }

  ensureOwner(login) {
    const key = login.toLowerCase();
    let owner = this.owners.get(key);
    if (!owner) {
      const id = stableId(`owner ${key}`);
      owner = {
        login, id, installationId: stableId(`installation ${key}`), groups: new Map([[1, defaultGroup()]]),
        nextGroupId: HOSTED_GROUP_ID + 1, createdAt: Date.now(), suspended: false, rateLimit: null,
      };
      this.owners.set(key, owner);
    }
    return owner;
  }

  ensureRepository(fullName, settings = {}) {
    const [login, name, rest] = String(fullName).split('/');
    if (!login || !name || rest !== undefined) throw new RangeError(`"${fullName}" is not owner/name`);
    const key = fullName.toLowerCase();
    let repository = this.repositories.get(key);
    if (!repository) {
      const owner = this.ensureOwner(login);
      repository = {
        id: stableId(`repository ${key}`), owner, name, fullName: `${owner.login}/${name}`, private: true,
        createdAt: Date.now(), template: null,
      };
      this.repositories.set(key, repository);
    }
    if (settings.private !== undefined) {
      repository.private = Boolean(settings.private);
      repository.template = null;
    }
    return repository;
  }

  owner(login) {
    return this.owners.get(String(login).toLowerCase());
  }

  repository(login, name) {
    return this.repositories.get(`${login}/${name}`.toLowerCase());
  }

  /** Changes an installation: {suspended, id, rate_limit}; with a new id the old one is unknown, as after the App was installed again. */
  setInstallation(login, { suspended, id, rate_limit: rateLimit }) {
    const owner = this.ensureOwner(login);
    if (suspended !== undefined) owner.suspended = Boolean(suspended);
    if (id !== undefined) owner.installationId = id;
    if (rateLimit !== undefined) owner.rateLimit = rateLimit;
  }

  /** login: an organisation, or `enterprises/SLUG`. */
  addGroup(login, settings) {
    const owner = login === this.enterprise?.login ? this.enterprise : this.ensureOwner(login);
    const id = settings.id ?? owner.nextGroupId;
    owner.nextGroupId = Math.max(owner.nextGroupId, id + 1);
    const group = {
      id, name: settings.name, visibility: settings.visibility ?? 'all', default: false, inherited: false,
      allows_public_repositories: settings.allows_public_repositories ?? false,
      repositories: (settings.repositories ?? []).map((name) => name.toLowerCase()),
    };
    owner.groups.set(id, group);
    return group;
  }
}

/** Whether a runner group lets a repository's jobs onto its runners. */
export function groupAdmits(group, repository) {
  if (!repository.private && !group.allows_public_repositories) return false;
  if (group.visibility === 'selected') return group.repositories.includes(repository.fullName.toLowerCase());
  return group.visibility === 'all' || repository.private;
}
