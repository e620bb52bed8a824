import { closeSync, constants, openSync, readdirSync, rmdirSync, rmSync, unlinkSync } from 'node:fs'
import { open, readdir, rm, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
/** Maximum depth: each level keeps a descriptor open. A run's folder has three levels. */
const MAX_LEVELS = 64

/**
 * Removes a folder that another user may change at the same time, for example a compromised QEMU.
 * Each folder is opened without following a link, and its entries are removed relative to that
 * descriptor. So a link that replaces a folder is never followed. Entries that cannot be removed
 * are left.
 */
export async function removeTree(path: string): Promise<void> {
  if (process.platform !== 'linux') return await rm(path, { recursive: true, force: true })
  await removeFolder(dirname(path), basename(path), MAX_LEVELS)
}

async function removeFolder(parent: string, name: string, levels: number): Promise<void> {
  const path = join(parent, name)
  if (levels === 0) return
  const folder = await open(path, FLAGS).catch(() => undefined)
  if (folder === undefined) return
  try {
    // The kernel resolves this to the open folder, even if its path has changed (proc(5)).
    const dir = `/proc/self/fd/${folder.fd}`
    for (const entry of await readdir(dir, { withFileTypes: true })) {
      if (entry.isDirectory()) await removeFolder(dir, entry.name, levels - 1)
      else await unlink(join(dir, entry.name)).catch(() => {})
    }
  } finally {
    await folder.close()
  }
  await rmdir(path).catch(() => {})
}

/** Synchronous version of {@link removeTree}, for a process that is about to end. */
export function removeTreeSync(path: string): void {
  if (process.platform !== 'linux') rmSync(path, { recursive: true, force: true })
  else removeFolderSync(dirname(path), basename(path), MAX_LEVELS)
}

function removeFolderSync(parent: string, name: string, levels: number): void {
  const path = join(parent, name)
  const descriptor = levels > 0 ? ignoreErrors(() => openSync(path, FLAGS)) : undefined
  if (descriptor === undefined) return
  const dir = `/proc/self/fd/${descriptor}`
  for (const entry of ignoreErrors(() => readdirSync(dir, { withFileTypes: true })) ?? []) {
    if (entry.isDirectory()) removeFolderSync(dir, entry.name, levels - 1)
    else ignoreErrors(() => unlinkSync(join(dir, entry.name)))
  }
  closeSync(descriptor)
  ignoreErrors(() => rmdirSync(path))
}

function ignoreErrors<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
