import { availableParallelism } from 'node:os'
import { parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'
import { readCgroupLimits } from '../host/cgroup.js'
import { readTotalMemory } from '../host/memory.js'

/** What all guests of this user may take together. */
export interface Limits {
  readonly memoryBytes: number
  /** Where the memory's limit comes from, in words. */
  readonly origin: string
  /** How many may be started at a time. */
  readonly starts: number
  /** How many may stand by. */
  readonly standbys: number
}

/** Stand-bys take memory alone: each worker of a test run may have one, and there are hardly more than twice as many as processors. */
const STANDBYS_PER_PROCESSOR = 2

/**
 * Reads the limits: `WITHVM_MEMORY` and `WITHVM_STARTS`, else what this host (or its container) has.
 *
 * @throws {UsageError} INVALID_OPTIONS when one of them says something that cannot be meant.
 */
export function readLimits(env: NodeJS.ProcessEnv = process.env): Limits {
  const total = readTotalMemory()
  const asked = readSetting(env, 'WITHVM_MEMORY', "an amount of memory, as '2G'", parseMemorySize)
  const isAsked = asked !== undefined && asked < total
  const processors = countProcessors()
  return {
    memoryBytes: isAsked ? asked : total,
    origin: isAsked ? 'WITHVM_MEMORY' : 'what this host has',
    // Measured under TCG: more than one for each processor gain nothing. Nor do they under KVM, but for what waits for a disk.
    starts: readSetting(env, 'WITHVM_STARTS', 'a number from 1 on', parseCount) ?? Math.max(2, processors),
    standbys: STANDBYS_PER_PROCESSOR * processors,
  }
}

/** What this process may use at a time; a container's quota may allow for less than its host has. */
function countProcessors(): number {
  const allowed = readCgroupLimits().processors ?? Number.POSITIVE_INFINITY
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(allowed)))
}

function readSetting<T>(
  env: NodeJS.ProcessEnv,
  name: string,
  expected: string,
  parse: (text: string) => T | undefined,
): T | undefined {
  const text = env[name] ?? ''
  if (text === '') return undefined
  const value = parse(text)
  if (value !== undefined) return value
  throw vmError('INVALID_OPTIONS', {
    summary: `The environment variable ${name} cannot be used.`,
    expected,
    got: JSON.stringify(text),
    hint: 'correct it, or leave it out.',
  })
}

function parseCount(text: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined
}
