/**
 * Amount of memory: a number of MiB, as with QEMU's `-m`, or a number with a unit: `'512M'`,
 * `'2G'`.
 */
export type MemorySize = number | string

export const KIB = 1024
export const MIB = 1024 ** 2
export const GIB = 1024 ** 3
export const TIB = 1024 ** 4

const UNIT_BYTES = { K: KIB, M: MIB, G: GIB, T: TIB } as const

/** Returns bytes, or undefined if the value is not a positive amount of memory. */
export function parseMemorySize(size: unknown): number | undefined {
  if (typeof size === 'number') return Number.isFinite(size) && size > 0 ? size * MIB : undefined
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
    ['TiB', TIB],
    ['GiB', GIB],
    ['MiB', MIB],
    ['KiB', KIB],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(1).replace(/\.0$/, '')} ${unit}`
  }
  return `${bytes} bytes`
}
