import { createHash, randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readSmallFile } from '../common/files/read-small-file.js'

const DAY_MS = 86_400_000
const MAX_FACT_BYTES = 1024 ** 2

/**
 * Cache of facts about this host that are slow to determine. Each fact is a small JSON file in
 * `host/` of the cache directory. An unreadable or invalid fact counts as unknown. A fact that
 * cannot be written (full disk, read-only home) is kept in memory.
 */
export class HostCache {
  /** Cache directory. */
  readonly dir: string
  readonly #unwritten = new Map<string, unknown>()

  constructor(cacheDir: string) {
    this.dir = cacheDir
  }

  /** @param parse returns the fact, or undefined if the value is invalid. */
  async read<T>(name: string, parse: (value: unknown) => T | undefined): Promise<T | undefined> {
    if (this.#unwritten.has(name)) return parse(this.#unwritten.get(name))
    try {
      return parse(JSON.parse((await readSmallFile(this.#path(name), MAX_FACT_BYTES)) ?? ''))
    } catch {
      return undefined
    }
  }

  async write(name: string, fact: unknown): Promise<void> {
    const path = this.#path(name)
    const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
    try {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(temporary, `${JSON.stringify(fact)}\n`, { flag: 'wx' })
      await rename(temporary, path)
      this.#unwritten.delete(name)
    } catch {
      await rm(temporary, { force: true }).catch(() => {})
      this.#unwritten.set(name, fact)
    }
  }

  /**
   * Returns true if the message was not reported within a day. A run of many processes reports it
   * once.
   */
  async shouldReport(name: string, message: string): Promise<boolean> {
    const last = await this.read(name, (value) => value as { reason?: unknown; at?: unknown })
    const now = Date.now()
    if (last?.reason === message && Number(last.at) > now - DAY_MS && Number(last.at) <= now) return false
    await this.write(name, { reason: message, at: now })
    return true
  }

  #path(name: string): string {
    return join(this.dir, 'host', `${name}.json`)
  }
}

const opened = new Map<string, HostCache>()

/** Returns the cache of a directory; one instance per process. */
export function openHostCache(cacheDir: string): HostCache {
  const known = opened.get(cacheDir)
  if (known !== undefined) return known
  const cache = new HostCache(cacheDir)
  opened.set(cacheDir, cache)
  return cache
}

/** Returns a short digest of the inputs that a fact depends on. */
export function digestOf(...parts: ReadonlyArray<string | number>): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)
}
