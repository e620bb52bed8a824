import { freemem, totalmem } from 'node:os'

const MIB = 1024 ** 2

/** Bytes that a program may still take. Of a container that may have less than its host, what it may have. */
export function readFreeMemory(): number {
  const limit = process.constrainedMemory()
  return limit > 0 && limit < totalmem() ? Math.min(freemem(), limit) : freemem()
}

/** As people read sizes: `1.9 GiB`. */
export function formatBytes(bytes: number): string {
  const [value, unit] = bytes >= 1024 * MIB ? [bytes / 1024 / MIB, 'GiB'] : [bytes / MIB, 'MiB']
  return `${value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${unit}`
}
