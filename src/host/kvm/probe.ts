import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requireFiles } from '../../common/host-error.js'
import { newRunFolderName } from '../../common/locks/run-folder-name.js'
import { tieHelper } from '../../common/process/set-privileges.js'
import type { QemuBinary } from '../qemu-binary.js'
import { buildProbeRom } from './probe-rom.js'

export type AcceleratorName = 'kvm' | 'tcg'

/** The letters of the probe guest, in order, and what it has done when it writes each. */
const PROBE_STAGES = [
  ['r', 'run its first instruction'],
  ['p', 'enter protected mode'],
  ['l', 'enter long mode with paging'],
  ['c', 'run lock cmpxchg16b'],
  ['x', 'save and restore registers with xsave and xrstor'],
  ['e', 'take an exception'],
  ['m', 'change and use page mappings'],
  ['z', 'get through a short loop'],
] as const

export interface ProbeOutcome {
  /** How the probe ended; `passed` has a loopMs. */
  readonly end: 'passed' | 'stuck' | 'exited'
  /** The letters of the stages that it got through. */
  readonly stages: string
  /** How long the probe's loop takes: the best of five runs, by the guest's own clock. */
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

/** The CPU model that launches use as well: all that the accelerator can do. */
const CPU = { kvm: 'host', tcg: 'max' } as const

/** Boots the probe guest once. Rejects only when the signal aborts, or when the ROM cannot be written. */
export async function runProbe(options: ProbeOptions): Promise<ProbeOutcome> {
  const rom = await openRom()
  try {
    return await bootRom(rom, options)
  } finally {
    await rom.release()
  }
}

interface Rom {
  /** Where QEMU finds it. */
  readonly path: string
  /** What QEMU has to inherit, as its file descriptor 3. */
  readonly fd: number
  release(): Promise<void>
}

/** On Linux the file has no name any more when QEMU starts. The folder is named like that of a run, so that the next run removes it after a process that was killed before. */
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
  const bare = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot']
  const command = [options.qemu.path, ...machine, ...bare, '-bios', rom.path, '-serial', 'stdio']
  // A stuck probe burns CPU for ever. The limit ends it where nothing else does.
  const [file = '', ...args] = command
  const tied = await tieHelper({ file, args }, { limits: ['ulimit -t 2', 'ulimit -c 0'] })
  requireFiles()
  const subprocess = execa(tied.file, tied.args, {
    reject: false,
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
    // Execa takes any open descriptor; its types know those up to 9.
    stdio: ['ignore', 'pipe', 'pipe', rom.fd as 3],
    encoding: 'latin1',
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  })
  let output = ''
  let errors = ''
  subprocess.stdout.on('data', (data: string) => {
    output += data.toString()
    if (output.includes('z')) subprocess.kill('SIGKILL')
  })
  subprocess.stderr.on('data', (data: string) => {
    errors += data.toString()
    // After it QEMU waits for somebody to look at the guest.
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

/** Reads ` <ticks in 10 ms> <ticks of a run> …z` at the end of what the probe printed. */
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

/** What the probe guest could not do, or undefined when it did everything. */
export function failedStep(outcome: ProbeOutcome): string | undefined {
  if (outcome.end === 'passed') return undefined
  return PROBE_STAGES.find(([letter]) => !outcome.stages.includes(letter))?.[1] ?? 'end'
}
