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
import { parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'

export const TEMPLATES = 'templates'
/** What all templates of this user may take on the disk, unless `WITHVM_TEMPLATES_SIZE` says otherwise. */
const DEFAULT_MOST_BYTES = 8 * 1024 ** 3

/**
 * Notes that this process has guests of a template, until it ends: nobody removes it meanwhile. Call it before looking for
 * the template: what is removed then is removed before it is found.
 */
export async function markUsed(name: string, cacheDir = resolveCacheDir()): Promise<void> {
  await markEntryUsed(join(cacheDir, TEMPLATES), name)
}

/** All templates of the cache, the one that was used last first. */
export async function listTemplates(cacheDir = resolveCacheDir()): Promise<EntryInfo[]> {
  return listEntries(join(cacheDir, TEMPLATES))
}

/**
 * Removes templates.
 *
 * @throws {UsageError} INVALID_OPTIONS when there is none of a name; nothing is removed then.
 * @throws {InfrastructureError} TEMPLATE_IN_USE when a running process has guests of one; the others are removed.
 */
export async function removeTemplates(names: readonly string[], cacheDir = resolveCacheDir()): Promise<void> {
  const known = (await listTemplates(cacheDir)).map(({ name }) => name)
  for (const name of names) if (!known.includes(name)) throw unknown(name, known)
  const kept = await removeEntries(join(cacheDir, TEMPLATES), names)
  if (kept.length > 0) throw inUse(kept)
}

/**
 * Removes those that were not used for longest, until the others take no more than `mostBytes`. Those in use stay.
 * @returns the names of those that were removed.
 */
export async function pruneTemplates(
  options: { readonly cacheDir?: string; readonly mostBytes?: number; readonly keep?: string } = {},
): Promise<string[]> {
  const { cacheDir = resolveCacheDir(), mostBytes = readMostBytes(), keep } = options
  return pruneEntries(join(cacheDir, TEMPLATES), { mostBytes, keep })
}

function readMostBytes(): number {
  return parseMemorySize(process.env.WITHVM_TEMPLATES_SIZE) ?? DEFAULT_MOST_BYTES
}

function unknown(name: string, known: readonly string[]) {
  const near = nearestNames(name, known)
  return vmError('INVALID_OPTIONS', {
    summary: `There is no template '${name}'.`,
    expected:
      near.length > 0 ? near.map((one) => `'${one}'`).join(' or ') : known.join(', ') || '(there is none)',
    got: `'${name}'`,
    hint: '`withvm templates ls` shows those that are there.',
  })
}

function inUse(names: readonly string[]) {
  return vmError('TEMPLATE_IN_USE', {
    summary: `A process that is running has guests of ${names.map((name) => `'${name}'`).join(', ')}.`,
    hint: 'wait until it has ended (`pgrep -f qemu-system` finds its guests), and try again.',
  })
}
