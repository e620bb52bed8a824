import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requireFiles } from '../../common/host-error.js'
import { newRunFolderName } from '../../common/locks/run-folder-name.js'
import { tieHelper } from '../../common/process/set-privileges.js'
import type { QemuBinary } from '../qemu-binary.js'
import { buildProbeRom } from './probe-rom.js'

export type AcceleratorName = 'kvm' | 'tcg'

/**
 * Stages of the probe guest in order: the letter that it writes, and the step that it has
 * completed.
 */
const PROBE_STAGES = [
  ['r', 'run its first instruction'],
  ['p', 'enter protected mode'],
  ['l', 'enter long mode with paging'],
  ['c', 'run lock cmpxchg16b'],
  ['x', 'save and restore registers with xsave and xrstor'],
  ['e', 'take an exception'],
  ['m', 'change and use page mappings'],
  ['z', 'complete a short loop'],
] as const

export interface ProbeOutcome {
  /** Result of the probe. `loopMs` is set if it passed. */
  readonly end: 'passed' | 'stuck' | 'exited'
  /** Letters of the completed stages. */
  readonly stages: string
  /** Duration of the probe's loop: the fastest of five runs, by the clock of the guest. */
  readonly loopMs?: number
  readonly stderr: string
  readonly exit: string
}

export interface ProbeOptions {
  readonly qemu: QemuBinary
  readonly accelerator: AcceleratorName
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** CPU models, the same as for launches: all features of the accelerator. */
const CPU = { kvm: 'host', tcg: 'max' } as const

/** Boots the probe guest once. Rejects only if the signal aborts or the ROM cannot be written. */
export async function runProbe(options: ProbeOptions): Promise<ProbeOutcome> {
  const rom = await openRom()
  try {
    return await bootRom(rom, options)
  } finally {
    await rom.release()
  }
}

interface Rom {
  /** Path of the ROM for QEMU. */
  readonly path: string
  /** File descriptor that QEMU inherits as descriptor 3. */
  readonly fd: number
  release(): Promise<void>
}

/**
 * Writes the ROM. On Linux the file is unlinked before QEMU starts. The folder has the name of a
 * run folder, so that the next run sweeps it if this process is killed earlier.
 */
async function openRom(): Promise<Rom> {
  const dir = join(tmpdir(), newRunFolderName())
  await mkdir(dir, { mode: 0o700 })
  const remove = () => rm(dir, { recursive: true, force: true })
  try {
    const path = join(dir, 'probe.rom')
    await writeFile(path, buildProbeRom())
    const file = await open(path)
    if (process.platform === 'linux') await remove()
    return {
      path: process.platform === 'linux' ? '/proc/self/fd/3' : path,
      fd: file.fd,
      release: async () => {
        await file.close()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function bootRom(rom: Rom, options: ProbeOptions): Promise<ProbeOutcome> {
  const { execa } = await import('execa')
  options.signal?.throwIfAborted()
  const machine = [
    '-machine',
    'q35',
    '-m',
    '16',
    '-accel',
    options.accelerator,
    '-cpu',
    CPU[options.accelerator],
  ]
  const emptyMachine = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot']
  const command = [options.qemu.path, ...machine, ...emptyMachine, '-bios', rom.path, '-serial', 'stdio']
  // The CPU limit ends a stuck probe if this process cannot.
  const [file = '', ...args] = command
  const limits = ['ulimit -t 2', 'ulimit -c 0']
  const settings = {
    reject: false,
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
    // Execa accepts any open descriptor; its types allow those up to 9.
    stdio: ['ignore', 'pipe', 'pipe', rom.fd as 3],
    encoding: 'latin1',
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  } as const
  const start = await tieHelper({ file, args }, settings, { limits })
  requireFiles()
  const subprocess = execa(...start)
  let output = ''
  let errors = ''
  subprocess.stdout.on('data', (data: string) => {
    output += data.toString()
    if (output.includes('z')) subprocess.kill('SIGKILL')
  })
  subprocess.stderr.on('data', (data: string) => {
    errors += data.toString()
    // After this error QEMU pauses the guest and does not exit.
    if (errors.includes('KVM internal error')) subprocess.kill('SIGKILL')
  })
  const result = await subprocess
  options.signal?.throwIfAborted()
  const loopMs = parseLoopMs(output)
  return {
    end: loopMs !== undefined ? 'passed' : result.timedOut ? 'stuck' : 'exited',
    stages: /^[a-z]*/.exec(output)?.[0] ?? '',
    ...(loopMs === undefined ? {} : { loopMs }),
    stderr: errors,
    exit: result.signal === undefined ? `exit code ${result.exitCode}` : result.signal,
  }
}

/** Parses ` <ticks in 10 ms> <ticks of a run> …z` at the end of the probe's output. */
export function parseLoopMs(output: string): number | undefined {
  const match = /^[a-z]+((?: [A-P]{8}){6})z/.exec(output)
  if (match?.[1] === undefined) return undefined
  const [calibration = 0, ...runs] = match[1].trim().split(' ').map(parseDigits)
  const loopMs = (Math.min(...runs) / calibration) * 10
  return Number.isFinite(loopMs) && loopMs > 0 ? loopMs : undefined
}

function parseDigits(digits: string): number {
  return [...digits].reduce((value, digit) => value * 16 + digit.charCodeAt(0) - 65, 0)
}

/** Returns the step that the probe guest failed to complete, or undefined if it passed. */
export function failedStep(outcome: ProbeOutcome): string | undefined {
  if (outcome.end === 'passed') return undefined
  return PROBE_STAGES.find(([letter]) => !outcome.stages.includes(letter))?.[1] ?? 'end'
}
