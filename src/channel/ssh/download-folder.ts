import { constants, existsSync } from 'node:fs'
import { chmod, lstat, mkdir, open, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import { nameFile } from '../../common/files/descriptor-path.js'
import { type CopySide, openLocal } from './copy-blocks.js'
import { localSide } from './file-side.js'

const { O_DIRECTORY = 0, O_NOFOLLOW = 0 } = constants
/** Only a place in the file system, for which a folder need not be readable: Node.js does not name it (open(2)). */
const O_PATH = process.platform === 'linux' ? 0o10000000 : 0
/** The kernel's name for what a descriptor leads to, so that paths can begin there; undefined on other systems than Linux. */
const DESCRIPTORS = process.platform === 'linux' && existsSync('/proc/self/fd') ? '/proc/self/fd' : undefined

/**
 * The side of a download on this host. Folders between `root` and a file are entered one by one and never through a link,
 * whenever it was put there: by an earlier download, or by another one that runs at the same time. The folder that
 * `root` is in is the author's own, links included.
 */
export function downloadFolder(root: string): CopySide {
  const within = <T>(path: string, work: (safePath: string) => Promise<T>) => withParent(root, path, work)
  return {
    ...localSide,
    makeFolder: (path) => {
      // What is above the target is made as it is named.
      if (path !== root && !isBelow(root, path)) return localSide.makeFolder(path)
      return within(path, async (safe) => {
        await removeLink(safe)
        await mkdir(safe).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
        // Fails where something else than a folder is in its place.
        await (await openFolder(safe)).close()
      })
    },
    clearLink: (path) => within(path, removeLink),
    makeLink: (path, target) =>
      within(path, async (safe) => {
        await rm(safe, { force: true })
        await symlink(target, safe)
      }),
    chmod: (path, mode) =>
      within(path, async (safe) => {
        const folder = await openFolder(safe)
        try {
          await chmod(DESCRIPTORS === undefined ? safe : `${DESCRIPTORS}/${folder.fd}`, mode)
        } finally {
          await folder.close()
        }
      }),
    open: (path, flags, mode) => within(path, (safe) => openLocal(safe, flags, mode)),
  }
}

const isBelow = (root: string, path: string) => path.startsWith(root.endsWith(sep) ? root : root + sep)

/** Calls `work` with a name of the same file in which no link can be followed but the file itself. */
async function withParent<T>(root: string, path: string, work: (safePath: string) => Promise<T>): Promise<T> {
  const base = dirname(root)
  const names = relative(base, dirname(path))
    .split(sep)
    .filter((name) => name !== '')
  let at = DESCRIPTORS === undefined ? base : ''
  let folder = await open(base, O_DIRECTORY | O_PATH)
  try {
    for (const name of names) {
      const next = await openFolder(
        DESCRIPTORS === undefined ? join(at, name) : `${DESCRIPTORS}/${folder.fd}/${name}`,
      )
      await folder.close()
      folder = next
      at = join(at, name)
    }
    const parent = DESCRIPTORS === undefined ? at : `${DESCRIPTORS}/${folder.fd}`
    return await work(join(parent, basename(path)))
  } catch (error) {
    throw nameFile(error as NodeJS.ErrnoException, path)
  } finally {
    await folder.close()
  }
}

const openFolder = (path: string) => open(path, O_DIRECTORY | O_NOFOLLOW | O_PATH)

async function removeLink(path: string): Promise<void> {
  const entry = await lstat(path).catch(() => undefined)
  if (entry?.isSymbolicLink()) await rm(path)
}
