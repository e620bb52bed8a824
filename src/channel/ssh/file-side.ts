import { chmod, lstat, mkdir, readdir, readlink, rm, stat, symlink } from 'node:fs/promises'
import { join, posix } from 'node:path'
import type { SFTPWrapper } from 'ssh2'

export interface FileEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'link' | 'other'
  /** The permission bits. */
  readonly mode: number
  readonly sizeBytes: number
}

/** One end of a copy: this host's files or the guest's. */
export interface FileSide {
  join(folder: string, name: string): string
  /** Follows links; undefined when there is nothing. */
  stat(path: string): Promise<FileEntry | undefined>
  list(path: string): Promise<FileEntry[]>
  makeFolder(path: string): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  readLink(path: string): Promise<string>
  makeLink(path: string, target: string): Promise<void>
  /** True when the file system of `path` is known to have no space left. */
  isFull(path: string): Promise<boolean>
}

export const localSide: FileSide = {
  join,
  stat: async (path) => {
    try {
      return toEntry(path, await stat(path))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  },
  list: async (path) =>
    Promise.all((await readdir(path)).map(async (name) => toEntry(name, await lstat(join(path, name))))),
  makeFolder: async (path) => void (await mkdir(path, { recursive: true })),
  chmod,
  readLink: (path) => readlink(path),
  makeLink: async (path, target) => {
    await rm(path, { force: true })
    await symlink(target, path)
  },
  isFull: async () => false, // an error of this host says so itself
}

/** The guest's files. Its errors carry SFTP's status codes. */
export function remoteSide(sftp: SFTPWrapper): FileSide {
  const made = new Map<string, Promise<void>>()
  const statRemote: FileSide['stat'] = (path) =>
    new Promise((resolve, reject) => {
      sftp.stat(path, (error, stats) => {
        if (!error) resolve(toEntry(path, stats))
        else if (isMissing(error)) resolve(undefined)
        else reject(error)
      })
    })
  const makeFolder = (path: string): Promise<void> => {
    const making = made.get(path) ?? makeFolderOnce(path)
    made.set(path, making)
    return making
  }
  const makeFolderOnce = async (path: string): Promise<void> => {
    const existing = await statRemote(path)
    if (existing?.kind === 'folder') return
    if (existing !== undefined) throw Object.assign(new Error('Not a directory'), { code: 'ENOTDIR' })
    const parent = posix.dirname(path)
    if (parent !== path) await makeFolder(parent)
    await toPromise((done) => sftp.mkdir(path, done))
  }
  return {
    join: posix.join,
    stat: statRemote,
    list: (path) =>
      new Promise((resolve, reject) => {
        sftp.readdir(path, (error, list) => {
          if (error) return reject(error)
          const entries = list.filter(({ filename }) => filename !== '.' && filename !== '..')
          resolve(entries.map(({ filename, attrs }) => toEntry(filename, attrs)))
        })
      }),
    makeFolder,
    chmod: (path, mode) => toPromise((done) => sftp.chmod(path, mode, done)),
    readLink: (path) =>
      new Promise((resolve, reject) => {
        sftp.readlink(path, (error, target) => (error ? reject(error) : resolve(target)))
      }),
    makeLink: async (path, target) => {
      await toPromise((done) => sftp.unlink(path, done)).catch(() => {})
      const [first, second] = takesLinkFirst(sftp) ? [path, target] : [target, path]
      await toPromise((done) => sftp.symlink(first, second, done))
    },
    isFull: (path) =>
      new Promise((resolve) => {
        try {
          // The types of ssh2 1.15.6 say `any`; the fields are those of statvfs(3).
          sftp.ext_openssh_statvfs(path, (error: unknown, stats?: { f_bavail: number | bigint }) =>
            resolve(!error && Number(stats?.f_bavail) === 0),
          )
        } catch {
          resolve(false) // a server without this extension
        }
      }),
  }
}

export function toPromise(start: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()))
  })
}

/** ENOENT here, SSH_FX_NO_SUCH_FILE (2) in the guest. */
export function isMissing(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code === 'ENOENT' || code === 2
}

/**
 * OpenSSH's SFTP server takes the two names of SYMLINK the other way round than the protocol says. ssh2 1.17 knows,
 * but goes by the SSH server's name, which is another's when Dropbear runs OpenSSH's SFTP server.
 */
function takesLinkFirst(sftp: SFTPWrapper): boolean {
  const { _isOpenSSH: isKnown, _extensions: extensions } = sftp as unknown as {
    readonly _isOpenSSH?: boolean
    readonly _extensions?: Readonly<Record<string, unknown>>
  }
  return !isKnown && extensions !== undefined && 'posix-rename@openssh.com' in extensions
}

interface AnyStats {
  readonly mode: number
  readonly size: number
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
}

function toEntry(name: string, stats: AnyStats): FileEntry {
  const kind = stats.isFile()
    ? 'file'
    : stats.isDirectory()
      ? 'folder'
      : stats.isSymbolicLink()
        ? 'link'
        : 'other'
  return { name, kind, mode: stats.mode & 0o7777, sizeBytes: stats.size }
}
