import { type FileHandle, open, readFile, stat } from 'node:fs/promises'
import { MIB } from '../../common/units.js'

/** Page size of x86, the only architecture whose RAM is saved by pages. */
const PAGE_BYTES = 4096
const ENTRY_BYTES = 8
/** Bits in the upper half of an entry of `/proc/PID/pagemap` (Linux' pagemap.rst). */
const PRESENT_OR_SWAPPED = 0xc000_0000
const IN_FILE = 0x2000_0000
/** Number of entries that are read at once: those of 512 MiB. */
const ENTRIES_AT_ONCE = 131_072
/**
 * Longest gap between private pages that is read with them, in pages: shorter than the time of
 * another call. A page in a gap has the content that the file has, so writing it is harmless.
 */
const MAX_GAP_PAGES = 16
const MAX_RUN_BYTES = 4 * MIB
/** Number of concurrent reads: as many as Node.js has threads. */
const READERS = 4
/** Size of pages that are kept in memory until the guest runs again. Further ones delay it. */
const MAX_KEPT_BYTES = 256 * MIB

/** Part of a process's address space that maps a part of a file. */
interface Mapping {
  readonly start: number
  readonly end: number
  /** Position of `start` in the file. */
  readonly offset: number
}

/** Consecutive bytes of RAM: their address, and their position in the file. */
interface Run {
  readonly address: number
  readonly offset: number
  readonly bytes: number
}

/**
 * Pages of a private mapping of a file that differ from the file, because the process has written
 * to them.
 */
export class PrivatePages {
  readonly #mappings: readonly Mapping[]
  readonly #memory: FileHandle
  readonly #pagemap: FileHandle

  private constructor(mappings: readonly Mapping[], memory: FileHandle, pagemap: FileHandle) {
    this.#mappings = mappings
    this.#memory = memory
    this.#pagemap = pagemap
  }

  /**
   * Opens the memory of a process.
   *
   * @param file file of which the process maps the first `bytes` bytes privately.
   * @returns undefined if the process does not, or this process may not read its memory.
   */
  static async open(pid: number, file: string, bytes: number): Promise<PrivatePages | undefined> {
    const opened: FileHandle[] = []
    try {
      const mappings = findMappings(await readFile(`/proc/${pid}/maps`, 'utf8'), (await stat(file)).ino)
      if (mappings.reduce((sum, { start, end }) => sum + end - start, 0) !== bytes) return undefined
      for (const name of ['mem', 'pagemap']) opened.push(await open(`/proc/${pid}/${name}`, 'r'))
      const [memory, pagemap] = opened.splice(0) as [FileHandle, FileHandle]
      return new PrivatePages(mappings, memory, pagemap)
    } catch {
      return undefined // Yama, or a container without permission to trace processes
    } finally {
      await Promise.all(opened.map((handle) => handle.close()))
    }
  }

  /**
   * Copies the pages to a copy of the file. The process must not write to them until this resolves.
   * Returns a function that writes the rest, which may happen later.
   */
  async copyTo(target: FileHandle, signal: AbortSignal): Promise<() => Promise<void>> {
    const runs = await this.#findRuns()
    const kept: Array<{ readonly bytes: Buffer; readonly offset: number }> = []
    let keptBytes = 0
    const next = runs.values()
    const readAll = async () => {
      for (const { address, offset, bytes: length } of next) {
        signal.throwIfAborted()
        const bytes = await readFully(this.#memory, address, length)
        if (keptBytes + length > MAX_KEPT_BYTES) {
          await writeFully(target, bytes, offset)
        } else {
          keptBytes += length
          kept.push({ bytes, offset })
        }
      }
    }
    await Promise.all(Array.from({ length: READERS }, readAll))
    return async () => {
      for (const { bytes, offset } of kept.splice(0)) await writeFully(target, bytes, offset)
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#memory.close(), this.#pagemap.close()])
  }

  async #findRuns(): Promise<Run[]> {
    const runs: Run[] = []
    for (const { start, end, offset } of this.#mappings) {
      const add = (first: number, last: number) => {
        for (let at = first * PAGE_BYTES; at < last * PAGE_BYTES; at += MAX_RUN_BYTES) {
          const bytes = Math.min(MAX_RUN_BYTES, last * PAGE_BYTES - at)
          runs.push({ address: start + at, offset: offset + at, bytes })
        }
      }
      const finder = new RunFinder(add)
      const pages = (end - start) / PAGE_BYTES
      for (let page = 0; page < pages; page += ENTRIES_AT_ONCE) {
        const count = Math.min(ENTRIES_AT_ONCE, pages - page)
        const position = (start / PAGE_BYTES + page) * ENTRY_BYTES
        finder.scan(await readFully(this.#pagemap, position, count * ENTRY_BYTES), page)
      }
      finder.end()
    }
    return runs
  }
}

/** Joins private pages to runs. */
export class RunFinder {
  readonly #add: (first: number, last: number) => void
  #first = -1
  #last = -1

  /** @param add called with the first page of a run, and the page after its last one. */
  constructor(add: (first: number, last: number) => void) {
    this.#add = add
  }

  /** Reads entries of a page map, of which the first one is that of `page`. */
  scan(entries: Buffer, page: number): void {
    const words = new Uint32Array(entries.buffer, entries.byteOffset, entries.length / 4)
    for (let at = 1; at < words.length; at += 2) {
      const flags = words[at] as number
      if ((flags & PRESENT_OR_SWAPPED) === 0 || (flags & IN_FILE) !== 0) continue
      const found = page + (at - 1) / 2
      if (this.#first < 0) this.#first = found
      else if (found - this.#last > MAX_GAP_PAGES) {
        this.#add(this.#first, this.#last)
        this.#first = found
      }
      this.#last = found + 1
    }
  }

  end(): void {
    if (this.#first >= 0) this.#add(this.#first, this.#last)
    this.#first = -1
  }
}

/**
 * Returns the private, writable mappings of a file, from the text of `/proc/PID/maps` (proc(5)).
 */
export function findMappings(maps: string, inode: number): Mapping[] {
  return maps.split('\n').flatMap((line) => {
    const fields = /^([0-9a-f]+)-([0-9a-f]+) rw-p ([0-9a-f]+) \S+ (\d+)/.exec(line)
    if (fields === null || Number(fields[4]) !== inode) return []
    const [start = 0, end = 0, offset = 0] = fields.slice(1, 4).map((digits) => Number.parseInt(digits, 16))
    return [{ start, end, offset }]
  })
}

async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done)
    if (bytesRead === 0) throw new RangeError(`The memory of QEMU ends at ${position + done}.`)
    done += bytesRead
  }
  return bytes
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
