import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { CommandResult } from '../../channel/command-result.js'
import { OpenFolder } from '../../common/files/open-folder.js'
import { streamWrittenFile } from '../../common/files/written-file.js'
import { GIB } from '../../common/units.js'
import { describeNetboot } from '../../net/netboot-text.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { ensureFolder } from '../workspace/workspace.js'
import { describeGuest } from './diagnostics.js'
import { formatManualCommand } from './manual-command.js'
import { Redaction } from './redaction.js'
import { dumpMemory, type FileIn, MAX_PICTURE_BYTES, takeScreenshot } from './screenshot.js'

/**
 * Names and contents of the artifact files, as listed in the documentation. `seen-N.png` stands for
 * one file per screenshot.
 */
export const ARTIFACTS = {
  'serial.log': 'serial console, complete, across power-ons',
  'commands.log':
    'commands of `vm.ssh` and `vm.exec` with output, exit code and duration; one line for the commands of each wait and each invariant',
  'guest.txt': 'stages of the start, accelerator, exit of QEMU',
  'dmesg.txt': 'kernel log, if the guest still answers over SSH or through its agent',
  'journal.txt': 'journal of this boot, if the guest still answers and has systemd',
  'screenshot.png': 'display, if the guest has one (`vga`, or a card in `qemuArgs`)',
  'seen-N.png': 'screenshots of failed matchers, and their differences from the reference',
  'netboot.txt': 'DHCP, TFTP and HTTP requests, if the guest can boot from the network',
  'qmp.log': 'QMP traffic with timestamps',
  'qemu.log': 'output of QEMU',
  'command-line.txt': 'command that boots the same guest in a terminal',
  'memory.elf':
    'memory for `crash` or `gdb`, as large as the RAM; only with `memoryDump: true` or `saveLogs(folder, { memory: true })`',
} as const
type Artifact = Exclude<keyof typeof ARTIFACTS, 'seen-N.png'>

/** Commands that are run in a responsive guest, with the file for the output. */
const COMMANDS: ReadonlyArray<readonly [Artifact, string]> = [
  ['dmesg.txt', 'dmesg'],
  ['journal.txt', 'journalctl --boot --no-pager --output=short-precise --lines=10000'],
]

/**
 * Upper bound for the parts of a memory dump other than RAM (video memory, firmware), and for the
 * size of a log beyond its limit.
 */
const MAX_OTHER_BYTES = GIB

/** Options of `vm.saveLogs()`. */
export interface SaveOptions {
  /**
   * If true, also saves the guest's memory as `memory.elf`, which is as large as its RAM.
   * @default false
   */
  readonly memory?: boolean | undefined
}

interface LogSources extends SaveOptions {
  /** Latest power-on; undefined if QEMU did not start. */
  readonly session: Session | undefined
  /** Pictures of the display, by file name. @default none */
  readonly pictures?: ReadonlyMap<string, Buffer>
  /**
   * Runs a command in the guest, with its own time limit. Undefined if nothing in the guest
   * responds.
   */
  readonly runCommand?: ((command: string) => Promise<CommandResult>) | undefined
}

/**
 * Saves logs and evidence of a guest to a folder named after it, because the run's folder is
 * removed. Unavailable parts are left out; known keys and passwords are redacted. Returns the path
 * of the folder.
 */
export async function saveLogs(machine: Machine, parent: string, sources: LogSources): Promise<string> {
  const folder = resolve(parent, machine.name)
  await ensureFolder(folder)
  const redaction = new Redaction(machine)
  const write = (name: Artifact, text: string) => writeFile(join(folder, name), redaction.apply(text))
  const { session, runCommand, pictures = new Map() } = sources
  const outputs = COMMANDS.map(async ([name, command]) => {
    const result = await runCommand?.(command).catch(() => undefined)
    if (result?.exitCode === 0 && result.stdout !== '') await write(name, result.stdout)
  })
  const saveDumps = async () => {
    if (session === undefined || session.qmp.isClosed) return
    const { qmp } = session
    await saveWrittenFile(machine, folder, {
      name: 'screenshot.png',
      maxBytes: MAX_PICTURE_BYTES,
      write: (file) => takeScreenshot(qmp, file),
    })
    if (sources.memory !== true) return
    const { memoryBytes } = machine.spec
    await saveWrittenFile(machine, folder, {
      name: 'memory.elf',
      maxBytes: 2 * memoryBytes + MAX_OTHER_BYTES,
      write: (file) => dumpMemory(qmp, file, memoryBytes),
    })
  }
  await Promise.all([
    ...outputs,
    saveDumps(),
    copySerialLog(machine, join(folder, 'serial.log' satisfies Artifact), redaction),
  ])
  const { netboot } = machine.services
  const guest = session === undefined ? '' : `${describeGuest(machine, session)}\n`
  await Promise.all([
    ...[...pictures].map(([name, png]) => writeFile(join(folder, name), png)),
    write('guest.txt', guest),
    write('qemu.log', machine.process?.stderr ?? ''),
    write('qmp.log', machine.transcripts.qmp.text),
    write('commands.log', machine.transcripts.commands.text),
    ...(netboot === undefined ? [] : [write('netboot.txt', `${describeNetboot(netboot, { all: true })}\n`)]),
    write('command-line.txt', `${formatManualCommand(machine)}\n`),
  ])
  return folder
}

/** File written by QEMU, with the maximum number of bytes that are copied. */
interface WrittenFile {
  readonly name: Artifact
  readonly maxBytes: number
  readonly write: (file: FileIn) => Promise<void>
}

/**
 * Makes QEMU write a file to the folder. The QEMU of another user cannot access the folder: it
 * writes to the run's folder, and the file is copied from there.
 */
async function saveWrittenFile(
  { host, workspace }: Machine,
  folder: string,
  { name, maxBytes, write }: WrittenFile,
): Promise<void> {
  if (host.user === undefined) {
    const own = await OpenFolder.make(folder)
    return write({ folder: own, name }).finally(() => own.close())
  }
  try {
    await write({ folder: workspace.folder, name })
    const written = await streamWrittenFile(workspace.path(name), maxBytes)
    await pipeline(written, createWriteStream(join(folder, name), { mode: 0o600 }))
  } catch {
    // The file was not written, for example because the guest has no display.
  } finally {
    await workspace.folder.remove(name)
  }
}

/**
 * Copies the log on disk, which is complete. If the log is incomplete (full disk) or was removed,
 * saves the part that this process still has in memory.
 */
async function copySerialLog(machine: Machine, path: string, redaction: Redaction): Promise<void> {
  try {
    const { logFailure } = machine.serial
    if (logFailure !== undefined) throw logFailure
    // The log of a clone begins with that of its template.
    const maxBytes = 2 * machine.spec.limits.consoleBytes + MAX_OTHER_BYTES
    const log = await streamWrittenFile(machine.workspace.path('serial.log'), maxBytes)
    await pipeline(log, redaction.stream(), createWriteStream(path))
  } catch {
    await writeFile(path, redaction.apply(machine.serial.text))
  }
}
