import { chmod, lstat, mkdir, readdir, readlink, rm, stat, symlink } from 'node:fs/promises'
import { join, posix } from 'node:path'
import type { SFTPWrapper } from 'ssh2'

export interface FileEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'link' | 'other'
  /** Permission bits. */
  readonly mode: number
  readonly sizeBytes: number
}

/** One side of a copy: files of the host or of the guest. */
export interface FileSide {
  join(folder: string, name: string): string
  /** Follows links. Returns undefined if the path does not exist. */
  stat(path: string): Promise<FileEntry | undefined>
  list(path: string): AsyncIterable<FileEntry>
  makeFolder(path: string): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  readLink(path: string): Promise<string>
  makeLink(path: string, target: string): Promise<void>
  /** On the host, removes a link at `path`, which may be the guest's: a write would follow it. */
  clearLink(path: string): Promise<void>
  /** Returns true if the file system of `path` is known to be full. */
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
  list: async function* (path) {
    yield* await Promise.all(
      (await readdir(path)).map(async (name) => toEntry(name, await lstat(join(path, name)))),
    )
  },
  makeFolder: async (path) => void (await mkdir(path, { recursive: true })),
  chmod,
  readLink: (path) => readlink(path),
  makeLink: async (path, target) => {
    await rm(path, { force: true })
    await symlink(target, path)
  },
  clearLink: async (path) => {
    const entry = await lstat(path).catch(() => undefined)
    if (entry?.isSymbolicLink()) await rm(path)
  },
  isFull: async () => false, // the host reports ENOSPC
}

/** Returns the guest side of a copy. Its errors have SFTP status codes. */
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
    list: (path) => listRemote(sftp, path),
    clearLink: async () => {}, // links of the guest lead to files of the guest
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
          // Typed as `any` in the typings of ssh2 1.15.6; the fields are those of statvfs(3).
          sftp.ext_openssh_statvfs(path, (error: unknown, stats?: { f_bavail: number | bigint }) =>
            resolve(!error && Number(stats?.f_bavail) === 0),
          )
        } catch {
          resolve(false) // a server without this extension
        }
      }),
  }
}

/**
 * Lists a folder in chunks, as the server sends them: an endless list must not fill the memory of
 * this process.
 */
async function* listRemote(sftp: SFTPWrapper, path: string): AsyncGenerator<FileEntry, void> {
  const handle = await new Promise<Buffer>((resolve, reject) => {
    sftp.opendir(path, (error, opened) => (error ? reject(error) : resolve(opened)))
  })
  try {
    for (let withoutFile = 0; withoutFile <= MAX_WITHOUT_FILE; ) {
      const entries = await new Promise<
        readonly { readonly filename: string; readonly attrs: AnyStats }[] | undefined
      >((resolve, reject) => {
        sftp.readdir(handle, (error, list) => {
          if (error) return (error as { code?: unknown }).code === END ? resolve(undefined) : reject(error)
          resolve(list)
        })
      })
      if (entries === undefined) return
      const files = entries.filter(({ filename }) => filename !== '.' && filename !== '..')
      if (files.length === 0) withoutFile++
      for (const { filename, attrs } of files) yield toEntry(filename, attrs)
    }
    throw new Error('an endless folder listing without files')
  } finally {
    sftp.close(handle, () => {})
  }
}

/** Maximum number of parts of a list that contain no file: `.` and `..` may be sent alone. */
const MAX_WITHOUT_FILE = 2
/** SSH_FX_EOF. */
const END = 1

export function toPromise(start: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()))
  })
}

/** Returns true for ENOENT of the host and SSH_FX_NO_SUCH_FILE (2) of the guest. */
export function isMissing(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code === 'ENOENT' || code === 2
}

/**
 * Returns true if ssh2 sends the names of SYMLINK in the wrong order. OpenSSH's SFTP server expects
 * them in reverse order of the protocol. ssh2 1.17 detects it by the name of the SSH server, and
 * misses Dropbear with that SFTP server.
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
  /** Undefined if the server does not report it. */
  readonly size: number | undefined
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
  return { name, kind, mode: stats.mode & 0o7777, sizeBytes: stats.size ?? 0 }
}
