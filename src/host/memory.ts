import { freemem, totalmem } from 'node:os'
import { readCgroupLimits } from './cgroup.js'

const MIB = 1024 ** 2

/** Bytes that a program may still take. Of a container that may have less than its host, what it may have. */
export function readFreeMemory(): number {
  return Math.min(freemem(), readCgroupLimits().freeBytes ?? Number.POSITIVE_INFINITY)
}

/** Bytes that all programs together may take: what the host has, or its container is allowed. */
export function readTotalMemory(): number {
  return Math.min(totalmem(), readCgroupLimits().memoryBytes ?? Number.POSITIVE_INFINITY)
}

/** As people read sizes: `1.9 GiB`. */
export function formatBytes(bytes: number): string {
  const [value, unit] = bytes >= 1024 * MIB ? [bytes / 1024 / MIB, 'GiB'] : [bytes / MIB, 'MiB']
  return `${value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ${unit}`
}
