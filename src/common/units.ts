/** Amount of memory: a number of MiB, as with QEMU's `-m`, or a number with a unit: `'512M'`, `'2G'`. */
export type MemorySize = number | string

const UNIT_BYTES = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 } as const

/** Returns bytes, or undefined if the value is not a positive amount of memory. */
export function parseMemorySize(size: unknown): number | undefined {
  if (typeof size === 'number') return Number.isFinite(size) && size > 0 ? size * UNIT_BYTES.M : undefined
  if (typeof size !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?)?$/i.exec(size.trim())
  if (match === null) return undefined
  const unit = (match[2]?.toUpperCase() ?? 'M') as keyof typeof UNIT_BYTES
  const bytes = Math.round(Number(match[1]) * UNIT_BYTES[unit])
  return bytes > 0 ? bytes : undefined
}

/** Formats bytes for readers: `512 MiB`, `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ['TiB', UNIT_BYTES.T],
    ['GiB', UNIT_BYTES.G],
    ['MiB', UNIT_BYTES.M],
    ['KiB', UNIT_BYTES.K],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(1).replace(/\.0$/, '')} ${unit}`
  }
  return `${bytes} bytes`
}
