/* What a path's names and numbers stand for; what does not exist is 404, as on GitHub. */
import { notFound } from './http.mjs';

/** The repository of a request's path, or 404. */
export function repositoryOf({ rest, params }) {
  const repository = rest.world.repository(params.owner, params.repo);
  if (!repository) throw notFound();
  return repository;
}

/** An enterprise is an owner, too, of runners and their groups. */
export function ownerOf({ rest, params }) {
  if (params.enterprise !== undefined) {
    const { enterprise } = rest.world;
    if (enterprise?.login.toLowerCase() !== `enterprises/${params.enterprise}`.toLowerCase()) throw notFound();
    return enterprise;
  }
  const owner = rest.world.owner(params.org ?? params.owner);
  if (!owner) throw notFound();
  return owner;
}

/** A whole number out of a path, or 404, as GitHub answers for what cannot be an id. */
export function idOf(text) {
  if (!/^\d{1,16}$/.test(text)) throw notFound();
  return Number(text);
}
