import { freemem, totalmem } from 'node:os'
import { readCgroupLimits } from './cgroup.js'

const MIB = 1024 ** 2

/** Returns the free memory in bytes, limited by the control group of a container. */
export function readFreeMemory(): number {
  return Math.min(freemem(), readCgroupLimits().freeBytes ?? Number.POSITIVE_INFINITY)
}

/** Returns the total memory in bytes, limited by the control group of a container. */
export function readTotalMemory(): number {
  return Math.min(totalmem(), readCgroupLimits().memoryBytes ?? Number.POSITIVE_INFINITY)
}

/** Formats a size for humans: `1.9 GiB`. */
export function formatBytes(bytes: number): string {
  const [value, unit] = bytes >= 1024 * MIB ? [bytes / 1024 / MIB, 'GiB'] : [bytes / MIB, 'MiB']
  return `${value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${unit}`
}
