import { freemem, totalmem } from 'node:os'
import { readCgroupLimits } from './cgroup.js'

/** Returns the free memory in bytes, limited by the control group of a container. */
export function readFreeMemory(): number {
  return Math.min(freemem(), readCgroupLimits().freeBytes ?? Number.POSITIVE_INFINITY)
}

/** Returns the total memory in bytes, limited by the control group of a container. */
export function readTotalMemory(): number {
  return Math.min(totalmem(), readCgroupLimits().memoryBytes ?? Number.POSITIVE_INFINITY)
}
