import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { GIB } from '../units.js'
import { findProgram } from './find-program.js'
import type { Program } from './host-user.js'

/**
 * Address space limit of a tool that parses images, in bytes. Measured with the largest valid
 * input: qemu-img on a VDI of 60 TiB takes 0.5 GiB, `convert` with 16 coroutines 1.2 GiB; xz has
 * dictionaries of up to 1.5 GiB, zstd windows of up to 2 GiB.
 */
const ADDRESS_SPACE_BYTES = 4 * GIB

/**
 * glibc reserves address space for each thread that allocates; with fewer arenas the limit applies
 * to used memory.
 */
export const LIMITED_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' } as const

/** Cached properties of the host. */
let host: Promise<{ readonly prlimit: string | undefined; readonly limits: HardLimits }> | undefined

interface HardLimits {
  readonly addressSpaceBytes: number
  readonly cpuSeconds: number
}

/** Parses the hard limits in `/proc/PID/limits` (proc(5)), which only root can exceed. Pure. */
export function parseHardLimits(text: string): HardLimits {
  const read = (name: string) => {
    const hard = new RegExp(`^${name} +\\S+ +(\\d+)`, 'm').exec(text)?.[1]
    return hard === undefined ? Number.POSITIVE_INFINITY : Number(hard)
  }
  return { addressSpaceBytes: read('Max address space'), cpuSeconds: read('Max cpu time') }
}

async function readHost() {
  const [prlimit, text] = await Promise.all([
    findProgram('prlimit'),
    readFile('/proc/self/limits', 'utf8').catch(() => ''),
  ])
  return { prlimit, limits: parseHardLimits(text) }
}

/**
 * Returns a command that runs a program under limits of address space, CPU time and core files,
 * against crafted images. The limits apply even after this process has ended. Without prlimit
 * (util-linux) the program runs without limits; `withvm doctor` reports that.
 *
 * @param options.timeoutMs time limit of the program; the CPU time limit is that on every processor
 * @param options.writes if false, the program cannot write to any file
 */
export async function limitTool(
  program: Program,
  { timeoutMs, writes }: { readonly timeoutMs: number; readonly writes: boolean },
): Promise<Program> {
  if (process.platform !== 'linux') return program
  host ??= readHost()
  const { prlimit, limits: hard } = await host
  if (prlimit === undefined) return program
  const cpuSeconds = Math.min(Math.ceil(timeoutMs / 1000) * availableParallelism(), hard.cpuSeconds)
  const addressSpaceBytes = Math.min(ADDRESS_SPACE_BYTES, hard.addressSpaceBytes)
  const limits = [`--as=${addressSpaceBytes}`, `--cpu=${cpuSeconds}`, '--core=0']
  return { file: prlimit, args: [...limits, ...(writes ? [] : ['--fsize=0']), program.file, ...program.args] }
}
