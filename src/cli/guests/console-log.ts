import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openWrittenFile } from '../../common/files/written-file.js'
import { livenessOf } from '../../common/locks/process-identity.js'
import { ownerOfFolder } from '../../common/locks/run-folder-name.js'
import { KIB } from '../../common/units.js'
import { readKeeperLiveness } from '../../vm/workspace/run-folder.js'
import type { RunningGuest } from '../../vm/workspace/running-guests.js'

const BLOCK_BYTES = 64 * KIB
/** Interval between reads of a log that is followed, milliseconds: a delay that readers accept. */
const FOLLOW_INTERVAL_MS = 100
const LINE_END = 0x0a

/** Part of a console log to read. */
export interface LogRange {
  /** Reads only the last bytes of the present log. @default all */
  readonly lastBytes?: number
  /** Reads only the last lines of the present log. @default all */
  readonly lastLines?: number
  /** If true, continues with new output until the guest ends or `signal` aborts. @default false */
  readonly follow?: boolean
  readonly signal?: AbortSignal
}

/**
 * Yields the log of a guest's serial console. A compromised QEMU can replace the file, so it is
 * opened without following links, and only once.
 *
 * @throws {Error} when the file does not exist or is not a regular file.
 */
export async function* readConsoleLog({ dir }: RunningGuest, range: LogRange = {}): AsyncGenerator<Buffer> {
  const { lastBytes, lastLines, follow = false, signal } = range
  const file = await openWrittenFile(join(dir, 'serial.log'))
  try {
    const { size } = await file.stat()
    let at = lastBytes === undefined ? 0 : Math.max(0, size - lastBytes)
    if (lastLines !== undefined) at = await findLastLines(file, size, lastLines)
    for (;;) {
      const isOver = !follow || (await hasEnded(file, dir))
      for (;;) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, at)
        if (bytesRead === 0 || signal?.aborted) break
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
      if (isOver || signal?.aborted) return
      await sleep(FOLLOW_INTERVAL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => {})
    }
  } finally {
    await file.close()
  }
}

/**
 * Returns true if the log is complete: it was removed with its guest, or the processes that would
 * remove it have ended. QEMU itself may be off between two power-ons.
 */
async function hasEnded(file: FileHandle, dir: string): Promise<boolean> {
  if ((await file.stat()).nlink === 0) return true
  return livenessOf(ownerOfFolder(dir) ?? '') === 'dead' && (await readKeeperLiveness(dir)) === 'dead'
}

/** Returns the offset of the last `count` lines. */
async function findLastLines(file: FileHandle, size: number, count: number): Promise<number> {
  let missing = count
  for (let end = size; end > 0; end -= BLOCK_BYTES) {
    const start = Math.max(0, end - BLOCK_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start)
    for (let at = bytesRead - 1; at >= 0; at--) {
      if (buffer[at] !== LINE_END || start + at === size - 1) continue
      if (--missing <= 0) return start + at + 1
    }
  }
  return 0
}
