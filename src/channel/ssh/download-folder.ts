import { constants, existsSync } from 'node:fs'
import { chmod, lstat, mkdir, open, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import { nameFile } from '../../common/files/descriptor-path.js'
import { type CopySide, openLocal } from './copy-blocks.js'
import { localSide } from './file-side.js'

const { O_DIRECTORY = 0, O_NOFOLLOW = 0 } = constants
/** Flag that opens folders without read permission (open(2)). Node.js has no constant for it. */
const O_PATH = process.platform === 'linux' ? 0o10000000 : 0
/**
 * Folder with links to open descriptors, at which paths can begin. Undefined on systems other than
 * Linux.
 */
const DESCRIPTORS = process.platform === 'linux' && existsSync('/proc/self/fd') ? '/proc/self/fd' : undefined

/**
 * Returns the host side of a download. Each folder between `root` and a file is opened without
 * following links, because an earlier or concurrent download may have created them. The parent
 * folder of `root` belongs to the author: links in its path are followed.
 */
export function downloadFolder(root: string): CopySide {
  const within = <T>(path: string, work: (safePath: string) => Promise<T>) => withParent(root, path, work)
  return {
    ...localSide,
    makeFolder: (path) => {
      // Folders above the target are created by their path.
      if (path !== root && !isBelow(root, path)) return localSide.makeFolder(path)
      return within(path, async (safe) => {
        await removeLink(safe)
        await mkdir(safe).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
        // Throws if the path is not a folder.
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

/** Calls `work` with a path of the same file whose parent folders are not links. */
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
