import { availableParallelism } from 'node:os'
import { parseMemorySize } from '../common/units.js'
import { vmError } from '../errors.js'
import { readCgroupLimits } from '../host/cgroup.js'
import { readTotalMemory } from '../host/memory.js'

/** Limits for all guests of this user together. */
export interface Limits {
  readonly memoryBytes: number
  /** Source of the memory limit, for messages. */
  readonly origin: string
  /** Maximum number of concurrent starts. */
  readonly starts: number
  /** Maximum number of standbys. */
  readonly standbys: number
}

/**
 * Standbys use memory but no CPU. Each worker of a test run may have one, and few runs have more
 * workers per processor.
 */
const STANDBYS_PER_PROCESSOR = 2

/**
 * Reads the limits from `WITHVM_MEMORY` and `WITHVM_STARTS`. Unset variables default to the limits
 * of this host or container.
 *
 * @throws {UsageError} INVALID_OPTIONS when one of the variables is invalid.
 */
export function readLimits(env: NodeJS.ProcessEnv = process.env): Limits {
  const total = readTotalMemory()
  const configured = readSetting(env, 'WITHVM_MEMORY', "an amount of memory, such as '2G'", parseMemorySize)
  const isLower = configured !== undefined && configured < total
  const processors = countProcessors()
  return {
    memoryBytes: isLower ? configured : total,
    origin: isLower ? 'WITHVM_MEMORY' : 'memory of this host',
    // Measured: more than one start per processor is not faster, neither with TCG nor with KVM,
    // except while waiting for disks.
    starts:
      readSetting(env, 'WITHVM_STARTS', 'an integer from 1 to 9999', parseCount) ?? Math.max(2, processors),
    standbys: STANDBYS_PER_PROCESSOR * processors,
  }
}

/**
 * Counts the processors available to this process. The CPU quota of a container may be lower than
 * the count of its host.
 */
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
    summary: `The environment variable ${name} is invalid.`,
    expected,
    got: JSON.stringify(text),
    hint: `Correct or unset ${name}.`,
  })
}

function parseCount(text: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined
}
