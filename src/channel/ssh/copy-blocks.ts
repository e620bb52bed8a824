import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { SFTPWrapper } from 'ssh2'
import { raceSignal } from '../../common/deadline.js'
import { KIB } from '../../common/units.js'
import { type FileSide, toPromise } from './file-side.js'

/** File that is open for reading or writing at any offset. */
export interface BlockFile {
  /** Returns fewer bytes than requested only near the end of the file, and none at the end. */
  read(offset: number, length: number): Promise<Buffer>
  write(offset: number, bytes: Buffer): Promise<void>
  chmod(mode: number): Promise<void>
  close(): Promise<void>
}

export type OpenBlocks = (path: string, flags: 'r' | 'w', mode: number) => Promise<BlockFile>

/** One side of a copy, with access to file contents. */
export interface CopySide extends FileSide {
  readonly open: OpenBlocks
}

/** Largest block that every SFTP server accepts (draft-ietf-secsh-filexfer-02, 3). */
const BLOCK_BYTES = 32 * KIB
/** Number of blocks in flight: enough to hide the latency of an emulated guest. */
const PARALLEL_BLOCKS = 32

/**
 * Copies a file in blocks, several in parallel. ssh2's `fastPut` and `fastGet` never settle when
 * the connection is lost; this copy ends when `signal` is aborted, and closes both files. Calls
 * `count` with the size of each block read; an error that it throws ends the copy.
 */
export async function copyBlocks(
  source: { readonly open: OpenBlocks; readonly path: string; readonly sizeBytes: number },
  target: { readonly open: OpenBlocks; readonly path: string; readonly mode: number },
  signal: AbortSignal,
  count: (bytes: number) => void = () => {},
): Promise<void> {
  const from = await raceSignal(source.open(source.path, 'r', 0), signal)
  let to: BlockFile | undefined
  try {
    const opened = await raceSignal(target.open(target.path, 'w', target.mode), signal)
    to = opened
    let next = 0
    let isEnd = false
    const work = async () => {
      while (!isEnd && !signal.aborted) {
        const offset = next
        next += BLOCK_BYTES
        isEnd = (await copyBlock(from, opened, offset, count)) || isEnd
      }
    }
    // Files of /proc and /sys report a size of 0 and do not support parallel reads.
    const workers = source.sizeBytes === 0 ? 1 : PARALLEL_BLOCKS
    await raceSignal(Promise.all(Array.from({ length: workers }, work)), signal)
    await raceSignal(opened.chmod(target.mode), signal)
    await raceSignal(opened.close(), signal)
    to = undefined
  } finally {
    // Not awaited: the connection may be lost.
    from.close().catch(() => {})
    to?.close().catch(() => {})
  }
}

/** Copies one block. Returns true at the end of the file. */
async function copyBlock(
  from: BlockFile,
  to: BlockFile,
  start: number,
  count: (bytes: number) => void,
): Promise<boolean> {
  for (let offset = start; offset < start + BLOCK_BYTES; ) {
    const bytes = await from.read(offset, start + BLOCK_BYTES - offset)
    if (bytes.length === 0) return true
    count(bytes.length)
    await to.write(offset, bytes)
    offset += bytes.length
  }
  return false
}

/** Flags for writing a file without following a link that has replaced the file in the meantime. */
const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0)

export const openLocal: OpenBlocks = async (path, flags, mode) => {
  const file: FileHandle = await open(path, flags === 'w' ? WRITE : flags, mode & 0o777)
  return {
    read: async (offset, length) => {
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset)
      return buffer.subarray(0, bytesRead)
    },
    write: async (offset, bytes) => {
      for (let done = 0; done < bytes.length; ) {
        done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
      }
    },
    chmod: (wanted) => file.chmod(wanted & 0o777),
    close: () => file.close(),
  }
}

export function openRemote(sftp: SFTPWrapper): OpenBlocks {
  return async (path, flags, mode) => {
    const handle = await new Promise<Buffer>((resolve, reject) => {
      sftp.open(path, flags, mode, (error, opened) => (error ? reject(error) : resolve(opened)))
    })
    return {
      read: (offset, length) =>
        new Promise((resolve, reject) => {
          const bytes = Buffer.allocUnsafe(length)
          sftp.read(handle, bytes, 0, length, offset, (error, count) => {
            if (error) reject(error)
            else resolve(bytes.subarray(0, count))
          })
        }),
      write: (offset, bytes) => toPromise((done) => sftp.write(handle, bytes, 0, bytes.length, offset, done)),
      chmod: (wanted) => toPromise((done) => sftp.fchmod(handle, wanted, done)),
      close: () => toPromise((done) => sftp.close(handle, done)),
    }
  }
}
