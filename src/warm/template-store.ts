import { join } from 'node:path'
import {
  type EntryInfo,
  listEntries,
  markEntryUsed,
  pruneEntries,
  removeEntries,
} from '../cache/entry-store.js'
import { resolveCacheDir } from '../common/cache-dir.js'
import { nearestNames } from '../common/nearest-name.js'
import { GIB, parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'

export const TEMPLATES = 'templates'
/** Maximum size of all templates of this user, unless `WITHVM_TEMPLATES_SIZE` is set. */
const DEFAULT_MAX_BYTES = 8 * GIB

/**
 * Marks a template as used by this process until the process ends, which protects it from removal.
 * Call it before looking up the template: a template that is removed at that moment is then not
 * found.
 */
export async function markUsed(name: string, cacheDir = resolveCacheDir()): Promise<void> {
  await markEntryUsed(join(cacheDir, TEMPLATES), name)
}

/** Returns all templates of the cache, the most recently used first. */
export async function listTemplates(cacheDir = resolveCacheDir()): Promise<EntryInfo[]> {
  return listEntries(join(cacheDir, TEMPLATES))
}

/**
 * Removes templates.
 *
 * @throws {UsageError} INVALID_OPTIONS when a name is unknown; nothing is removed then.
 * @throws {InfrastructureError} TEMPLATE_IN_USE when a running process has guests of a template;
 *   the other templates are removed.
 */
export async function removeTemplates(names: readonly string[], cacheDir = resolveCacheDir()): Promise<void> {
  const known = (await listTemplates(cacheDir)).map(({ name }) => name)
  for (const name of names) if (!known.includes(name)) throw unknownTemplateError(name, known)
  const kept = await removeEntries(join(cacheDir, TEMPLATES), names)
  if (kept.length > 0) throw templateInUseError(kept)
}

/**
 * Removes the least recently used templates until the others take no more than `maxBytes`.
 * Templates in use are kept.
 * @returns the names of the removed templates.
 */
export async function pruneTemplates(
  options: { readonly cacheDir?: string; readonly maxBytes?: number; readonly keep?: string } = {},
): Promise<string[]> {
  const { cacheDir = resolveCacheDir(), maxBytes = readMaxBytes(), keep } = options
  return pruneEntries(join(cacheDir, TEMPLATES), { maxBytes, keep })
}

function readMaxBytes(): number {
  return parseMemorySize(process.env.WITHVM_TEMPLATES_SIZE) ?? DEFAULT_MAX_BYTES
}

function unknownTemplateError(name: string, known: readonly string[]) {
  const near = nearestNames(name, known)
  return vmError('INVALID_OPTIONS', {
    summary: `No template is named '${name}'.`,
    expected:
      near.length > 0
        ? near.map((other) => `'${other}'`).join(' or ')
        : known.join(', ') || '(the cache contains no templates)',
    got: `'${name}'`,
    hint: 'Run `withvm templates ls` to list the templates.',
  })
}

function templateInUseError(names: readonly string[]) {
  return vmError('TEMPLATE_IN_USE', {
    summary: `Templates in use by guests of a running process: ${names.map((name) => `'${name}'`).join(', ')}.`,
    hint: 'Wait until the process that uses the template has exited, then retry (`withvm ps` lists running guests).',
  })
}
