import { closeSync, constants, openSync } from 'node:fs'
import { chown, type FileHandle, mkdir, open, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { changeOwner, type HostUser } from '../process/host-user.js'
import { descriptorPath, HAS_DESCRIPTOR_PATHS, nameFile, sharedDescriptorPath } from './descriptor-path.js'
import { removeFile } from './remove-file.js'

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Folder in which this process writes files, even after the folder was given to another user. On
 * Linux the folder stays open, and its entries are accessed relative to the descriptor, folder by
 * folder. A link that replaces its path or a subfolder is not entered.
 */
export class OpenFolder {
  readonly path: string
  /** Undefined on other systems, which do not support `runAs`. */
  readonly #descriptor: number | undefined
  readonly #running = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  private constructor(path: string) {
    this.path = path
    this.#descriptor = HAS_DESCRIPTOR_PATHS ? openSync(path, FLAGS) : undefined
  }

  /** Creates the folder if it does not exist, and opens it. */
  static async make(path: string): Promise<OpenFolder> {
    await mkdir(path, { recursive: true })
    return new OpenFolder(path)
  }

  /** Opens a folder that this process has just created. */
  static open(path: string): OpenFolder {
    return new OpenFolder(path)
  }

  /**
   * Path for the working directory of a child process of this process. It must not be used after
   * {@link close}.
   */
  get workingDirectory(): string {
    return this.#descriptor === undefined ? this.path : sharedDescriptorPath(this.#descriptor)
  }

  /**
   * Returns a path relative to the descriptor, for a socket of this process. It must not be used
   * after {@link close}.
   */
  entry(name: string): string {
    return join(this.#root, name)
  }

  /**
   * Calls `work` with a path of the named file after creating its parent folders. The file may be
   * anything, so `work` must not follow links.
   *
   * @throws {Error} when a parent folder is a link or not a folder, or this folder was closed.
   */
  within<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    return this.#run(name, () => this.#withPath(name, work))
  }

  /**
   * Writes a file that no other user can read. Replaces an existing file and never follows a link.
   */
  write(name: string, content: string | Uint8Array): Promise<void> {
    return this.within(name, async (path) => {
      await removeFile(path)
      await writeFile(path, content, { mode: 0o600, flag: 'wx' })
    })
  }

  /** Removes a file if it exists; of a link, only the link itself. */
  async remove(name: string): Promise<void> {
    if (this.#closed === undefined) await this.within(name, removeFile)
  }

  /** Gives all entries to that user, and the folder last: until then no other user can enter it. */
  changeOwner(user: HostUser): Promise<void> {
    return this.#run('', async () => {
      const names = await readdir(this.#root, { recursive: true })
      await Promise.all(names.map((name) => changeOwner(user, this.entry(name))))
      await chown(this.#root, user.uid, user.gid)
    })
  }

  /** Sets the modification time of the folder to this host's time. */
  touch(): Promise<void> {
    const now = new Date()
    return this.#run('', () => utimes(this.#root, now, now))
  }

  /** Waits for pending operations and closes the folder. May be called again. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() => {
      if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    })
    return this.#closed
  }

  get #root(): string {
    return this.#descriptor === undefined ? this.path : descriptorPath(this.#descriptor)
  }

  /** The descriptor stays open until `work` has ended: its number may be reused after that. */
  async #run<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new Error(`The folder ${this.path} was closed.`)
    const running = work().catch((error: NodeJS.ErrnoException) => {
      throw nameFile(error, join(this.path, name))
    })
    this.#running.add(running)
    return running.finally(() => this.#running.delete(running))
  }

  async #withPath<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    const folders = name.split('/')
    if (folders.some((folder) => ['', '.', '..'].includes(folder)))
      throw new Error(`'${name}' is not a valid file name.`)
    const last = folders.pop() as string
    const opened: FileHandle[] = []
    let at = this.#root
    try {
      for (const folder of folders) {
        at = join(at, folder)
        await mkdir(at).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
        if (this.#descriptor === undefined) continue
        const next = await open(at, FLAGS)
        opened.push(next)
        at = descriptorPath(next.fd)
      }
      return await work(join(at, last))
    } finally {
      for (const folder of opened) await folder.close()
    }
  }
}
