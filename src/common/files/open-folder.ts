import { constants } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { descriptorPath, HAS_DESCRIPTOR_PATHS, nameFile } from './descriptor-path.js'

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * A folder of this process in which files are written, also after it was given to another user. On Linux it stays open, and everything in it
 * is reached from that descriptor, folder by folder: whatever takes the place of its path, or of a folder in it, is not entered.
 */
export class OpenFolder {
  readonly #path: string
  /** Undefined on other systems, which have no other user for QEMU. */
  readonly #folder: FileHandle | undefined

  private constructor(path: string, folder: FileHandle | undefined) {
    this.#path = path
    this.#folder = folder
  }

  /** Makes the folder, if there is none, and opens it. */
  static async make(path: string): Promise<OpenFolder> {
    await mkdir(path, { recursive: true })
    return new OpenFolder(path, HAS_DESCRIPTOR_PATHS ? await open(path, FLAGS) : undefined)
  }

  /**
   * Calls `work` with a path of the file by that name, whose folders are made. The file itself may be anything: `work` may not follow a link.
   *
   * @throws {Error} when a folder on the way is a link or no folder.
   */
  async within<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    const folders = name.split('/')
    if (folders.some((folder) => ['', '.', '..'].includes(folder)))
      throw new Error(`no file can be named ${name}`)
    const last = folders.pop() as string
    const opened: FileHandle[] = []
    let at = this.#folder === undefined ? this.#path : descriptorPath(this.#folder.fd)
    try {
      for (const folder of folders) {
        at = join(at, folder)
        await mkdir(at).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
        if (this.#folder === undefined) continue
        const next = await open(at, FLAGS)
        opened.push(next)
        at = descriptorPath(next.fd)
      }
      return await work(join(at, last))
    } catch (error) {
      throw nameFile(error as NodeJS.ErrnoException, join(this.#path, name))
    } finally {
      for (const folder of opened) await folder.close()
    }
  }

  async close(): Promise<void> {
    await this.#folder?.close()
  }
}
