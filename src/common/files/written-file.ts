import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { descriptorPath, HAS_DESCRIPTOR_PATHS, nameFile } from './descriptor-path.js'

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants
const FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
const FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

/**
 * Opens a file for reading in a folder to which QEMU writes, possibly as another user. QEMU can
 * replace the file and its folder, so neither is opened through a link, and a FIFO or device does
 * not block.
 *
 * @throws {Error} when the file does not exist or is not a regular file.
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

/** Synchronous version of {@link openWrittenFile}. Returns a descriptor. */
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
 * Reads the whole content of a file that QEMU wrote, see {@link openWrittenFile}.
 *
 * @throws {Error} when it does not exist, is not a regular file, or is larger than `maxBytes`.
 */
export async function readWrittenFile(path: string, maxBytes: number): Promise<Buffer> {
  const file = await openWrittenFile(path)
  try {
    const { size } = await file.stat()
    if (size > maxBytes) throw tooLarge(path, maxBytes)
    // Reads exactly that size, because the file may grow in the meantime.
    return await readStart(file, size)
  } finally {
    await file.close()
  }
}

/** Reads the first bytes of a file that QEMU wrote, see {@link openWrittenFile}. */
export async function readWrittenStart(path: string, bytes: number): Promise<Buffer> {
  const file = await openWrittenFile(path)
  try {
    return await readStart(file, Math.min(bytes, (await file.stat()).size))
  } finally {
    await file.close()
  }
}

async function readStart(file: FileHandle, bytes: number): Promise<Buffer> {
  const content = Buffer.alloc(bytes)
  let length = 0
  while (length < bytes) {
    const { bytesRead } = await file.read(content, length, bytes - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return content.subarray(0, length)
}

/**
 * Returns a stream of a file that QEMU wrote, see {@link openWrittenFile}. The stream closes the
 * file at its end.
 *
 * @throws {Error} when it does not exist, is not a regular file, or is larger than `maxBytes`.
 */
export async function streamWrittenFile(path: string, maxBytes: number) {
  const file = await openWrittenFile(path)
  try {
    if ((await file.stat()).size > maxBytes) throw tooLarge(path, maxBytes)
    return file.createReadStream({ start: 0, end: maxBytes - 1 })
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Changes the mode of a file that QEMU wrote, see {@link openWrittenFile}. */
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

const tooLarge = (path: string, maxBytes: number) => new Error(`${path} has more than ${maxBytes} bytes`)
