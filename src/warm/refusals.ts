import { resolveCacheDir } from '../common/cache-dir.js'
import { isRecord } from '../common/is-record.js'
import { openHostCache } from '../host/host-cache.js'

/** Time after which a template is tried again, in milliseconds: withvm may have changed. */
const VALID_MS = 7 * 24 * 3600 * 1000
const MAX_REASON_CHARS = 1000

interface Refusal {
  readonly reason: string
  readonly at: number
}

/**
 * Records on this host that a guest cannot become a template. Without the record, each process
 * would boot it twice.
 * @param request digest of the machine and its image.
 */
export async function noteRefusal(request: string, reason: string): Promise<void> {
  const refusal: Refusal = { reason: reason.slice(0, MAX_REASON_CHARS), at: Date.now() }
  await openHostCache(resolveCacheDir()).write(nameOf(request), refusal)
}

/** Returns why this template was refused before; undefined if it may be tried. */
export async function findRefusal(request: string): Promise<string | undefined> {
  const refusal = await openHostCache(resolveCacheDir()).read(nameOf(request), parseRefusal)
  const ageMs = Date.now() - (refusal?.at ?? 0)
  return ageMs >= 0 && ageMs <= VALID_MS ? refusal?.reason : undefined
}

function nameOf(request: string): string {
  return `refused-template-${request}`
}

function parseRefusal(value: unknown): Refusal | undefined {
  if (!isRecord(value) || typeof value.reason !== 'string' || typeof value.at !== 'number') return undefined
  return { reason: value.reason.slice(0, MAX_REASON_CHARS), at: value.at }
}
