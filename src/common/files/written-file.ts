import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { descriptorPath, HAS_DESCRIPTOR_PATHS, nameFile } from './descriptor-path.js'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants
const FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
const FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

/**
 * Opens a file, to read it, in a folder in which QEMU writes, perhaps as another user. QEMU can replace the file and its folder: neither
 * is entered through a link, and a FIFO or device is not waited for.
 *
 * @throws {Error} when the file is absent or not a regular file.
 */
export async function openWrittenFile(path: string): Promise<FileHandle> {
  const folder = HAS_DESCRIPTOR_PATHS ? await open(dirname(path), FOLDER) : undefined
  try {
    const file = await open(folder === undefined ? path : pathIn(folder.fd, path), FILE)
    if ((await file.stat()).isFile()) return file
    await file.close()
    throw notRegular(path)
  } catch (error) {
    throw nameFile(error as NodeJS.ErrnoException, path)
  } finally {
    await folder?.close()
  }
}

/** Returns a descriptor of the same file, at once. */
export function openWrittenFileSync(path: string): number {
  const folder = HAS_DESCRIPTOR_PATHS ? openSync(dirname(path), FOLDER) : undefined
  try {
    const file = openSync(folder === undefined ? path : pathIn(folder, path), FILE)
    if (fstatSync(file).isFile()) return file
    closeSync(file)
    throw notRegular(path)
  } catch (error) {
    throw nameFile(error as NodeJS.ErrnoException, path)
  } finally {
    if (folder !== undefined) closeSync(folder)
  }
}

/**
 * Reads such a file whole.
 *
 * @throws {Error} when it is absent, not a regular file, or larger than `mostBytes`.
 */
export async function readWrittenFile(path: string, mostBytes: number): Promise<Buffer> {
  const file = await openWrittenFile(path)
  try {
    const { size } = await file.stat()
    if (size > mostBytes) throw tooLarge(path, mostBytes)
    // By that size: the file may grow meanwhile.
    const content = Buffer.alloc(size)
    let length = 0
    while (length < size) {
      const { bytesRead } = await file.read(content, length, size - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return content.subarray(0, length)
  } finally {
    await file.close()
  }
}

/**
 * Returns the bytes of such a file, to copy them. The file is closed at their end.
 *
 * @throws {Error} when it is absent, not a regular file, or larger than `mostBytes`.
 */
export async function streamWrittenFile(path: string, mostBytes: number) {
  const file = await openWrittenFile(path)
  try {
    if ((await file.stat()).size > mostBytes) throw tooLarge(path, mostBytes)
    return file.createReadStream({ start: 0, end: mostBytes - 1 })
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Changes the mode of such a file. */
export async function chmodWrittenFile(path: string, mode: number): Promise<void> {
  const file = await openWrittenFile(path)
  try {
    await file.chmod(mode)
  } finally {
    await file.close()
  }
}

const pathIn = (folder: number, path: string) => join(descriptorPath(folder), basename(path))

const notRegular = (path: string) => new Error(`${path} is not a regular file`)

const tooLarge = (path: string, mostBytes: number) => new Error(`${path} has more than ${mostBytes} bytes`)
